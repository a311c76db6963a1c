// A delegate that stands in for libedgetpu in tests. What it computes is a copy of its inputs. How
// it misbehaves is a macro. Types are those of TensorFlow Lite's c/common.h, as far as needed.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  int size;
  int data[];
} TfLiteIntArray;

typedef struct {
  int type;
  void* data;
  TfLiteIntArray* dims;
  struct {
    float scale;
    int32_t zero_point;
  } params;
  int allocation_type;
  size_t bytes;
  const void* allocation;
  const char* name;
  void* delegate;
  int buffer_handle;
  unsigned char data_is_stale;
  unsigned char is_variable;
  struct {
    int type;
    void* params;
  } quantization;
  void* sparsity;
  const TfLiteIntArray* dims_signature;
} TfLiteTensor;

typedef struct TfLiteContext TfLiteContext;
typedef struct TfLiteDelegate TfLiteDelegate;

typedef struct {
  TfLiteIntArray* inputs;
  TfLiteIntArray* outputs;
  TfLiteIntArray* intermediates;
  TfLiteIntArray* temporaries;
  void* user_data;
} NodeHead;

typedef struct {
  void* (*init)(TfLiteContext*, const char*, size_t);
  void (*free)(TfLiteContext*, void*);
  int (*prepare)(TfLiteContext*, NodeHead*);
  int (*invoke)(TfLiteContext*, NodeHead*);
  const char* (*profiling_string)(const TfLiteContext*, const NodeHead*);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void* registration_external;
  void* async_kernel;
  uint64_t inplace_operator;
} Registration;

struct TfLiteContext {
  size_t tensors_size;
  int (*GetExecutionPlan)(TfLiteContext*, TfLiteIntArray**);
  TfLiteTensor* tensors;
  void* impl_;
  int (*ResizeTensor)(TfLiteContext*, TfLiteTensor*, TfLiteIntArray*);
  void (*ReportError)(TfLiteContext*, const char*, ...);
  int (*AddTensors)(TfLiteContext*, int, int*);
  int (*GetNodeAndRegistration)(TfLiteContext*, int, NodeHead**, Registration**);
  int (*ReplaceNodes)(TfLiteContext*, Registration, const TfLiteIntArray*, TfLiteDelegate*);
};

struct TfLiteDelegate {
  void* data_;
  int (*Prepare)(TfLiteContext*, TfLiteDelegate*);
  void* CopyFromBufferHandle;
  void* CopyToBufferHandle;
  void* FreeBufferHandle;
  int64_t flags;
  void* opaque_delegate_builder;
};

typedef struct {
  TfLiteIntArray* nodes_to_replace;
  TfLiteIntArray* input_tensors;
  TfLiteIntArray* output_tensors;
} Params;

static int Copy(TfLiteContext* context, NodeHead* node) {
#ifdef CRASHES_RUNNING
  abort();
#endif
  size_t taken = 0;
  for (int i = 0; i < node->outputs->size; ++i) {
    TfLiteTensor* output = &context->tensors[node->outputs->data[i]];
    TfLiteTensor* input = &context->tensors[node->inputs->data[taken++ % node->inputs->size]];
    const size_t bytes = input->bytes < output->bytes ? input->bytes : output->bytes;
    memcpy(output->data, input->data, bytes);
  }
  return 0;
}

static int Prepare(TfLiteContext* context, TfLiteDelegate* delegate) {
#ifdef TAKES_NOTHING
  return 0;
#endif
  TfLiteIntArray* plan;
  if (context->GetExecutionPlan(context, &plan) != 0) return 1;
  TfLiteIntArray* taken = malloc(sizeof(int) * (plan->size + 1));
  taken->size = 0;
  for (int i = 0; i < plan->size; ++i) {
    NodeHead* node;
    Registration* registration;
    if (context->GetNodeAndRegistration(context, plan->data[i], &node, &registration) != 0) return 1;
    const char* name = registration->custom_name;
    if (name != NULL && strcmp(name, "edgetpu-custom-op") == 0) taken->data[taken->size++] = plan->data[i];
  }
  Registration kernel = {0};
  kernel.invoke = Copy;
  kernel.custom_name = "StubDelegate";
  kernel.version = 1;
  const int status = context->ReplaceNodes(context, kernel, taken, delegate);
  free(taken);
  return status;
}

#ifndef LACKS_LIST
void* edgetpu_list_devices(size_t* count) {
#ifdef CRASHES_LISTING
  abort();
#endif
#ifdef HANGS
  sleep(60);
#endif
#ifndef DEVICES
#define DEVICES 1
#endif
  *count = DEVICES;
  return malloc(1);
}

void edgetpu_free_devices(void* devices) { free(devices); }
#endif

TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count,
                                              void (*report)(const char*)) {
#ifdef REFUSES
  report("no device of that name");
  return NULL;
#endif
  TfLiteDelegate* delegate = calloc(1, sizeof(TfLiteDelegate));
  delegate->Prepare = Prepare;
  delegate->flags = 1;  // Else LiteRT prepares all operators first, and knows no custom one.
  return delegate;
}

void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) { free(delegate); }
