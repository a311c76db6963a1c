/* Calls kernels of a shared library as the executor would, without TVM: for processors that only an
   emulator has. Usage: run_kernels LIBRARY CALLS RESULTS

   CALLS, little endian: u32 number of tensors; each: u8 DLPack type code, u8 bits, u16 lanes, u32
   rank, i64 dimensions, u64 bytes, the bytes. Then u32 number of calls; each: u32 length and bytes
   of the symbol, u32 number of tensors, their u32 numbers, u32 iterations; with some, the kernel
   takes two more arguments, and is called for all of them. RESULTS takes the bytes of all tensors. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tvm/ffi/c_api.h>

#define MOST_RANK 8
#define MOST_ARGUMENTS 64

typedef int (*Kernel)(void*, const TVMFFIAny*, int32_t, TVMFFIAny*);

static FILE* calls;

static void fail(const char* what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void take(void* to, size_t size) {
  if (size != 0 && fread(to, size, 1, calls) != 1) fail("the calls end early");
}

static uint32_t take_u32(void) {
  uint32_t value;
  take(&value, sizeof value);
  return value;
}

static void* allocate(uint64_t size) {
  return aligned_alloc(64, (size + 64) & ~(uint64_t)63);
}

static void* allocate_workspace(int type, int device, uint64_t size, int code, int bits) {
  (void)type, (void)device, (void)code, (void)bits;
  return allocate(size);
}

static int free_workspace(int type, int device, void* workspace) {
  (void)type, (void)device;
  free(workspace);
  return 0;
}

/* What kernels tell of wrong arguments. */
void TVMFFIErrorSetRaisedFromCStrParts(const char* kind, const char** parts, int32_t count) {
  fprintf(stderr, "%s: ", kind);
  for (int32_t i = 0; i < count; ++i) fputs(parts[i], stderr);
  fputc('\n', stderr);
}

static void provide(void* library, const char* name, void* function) {
  void** place = dlsym(library, name);
  if (place != NULL) *place = function;
}

int main(int count, char** arguments) {
  if (count != 4) fail("usage: run_kernels LIBRARY CALLS RESULTS");
  void* library = dlopen(arguments[1], RTLD_LAZY);
  if (library == NULL) fail(dlerror());
  provide(library, "__TVMBackendAllocWorkspace", (void*)allocate_workspace);
  provide(library, "__TVMBackendFreeWorkspace", (void*)free_workspace);
  calls = fopen(arguments[2], "rb");
  FILE* results = fopen(arguments[3], "wb");
  if (calls == NULL || results == NULL) fail("a file cannot be opened");

  const uint32_t n_tensors = take_u32();
  DLTensor* tensors = calloc(n_tensors, sizeof *tensors);
  uint64_t* sizes = calloc(n_tensors, sizeof *sizes);
  for (uint32_t i = 0; i < n_tensors; ++i) {
    DLTensor* tensor = &tensors[i];
    take(&tensor->dtype.code, 1);
    take(&tensor->dtype.bits, 1);
    take(&tensor->dtype.lanes, 2);
    tensor->ndim = (int32_t)take_u32();
    if (tensor->ndim > MOST_RANK) fail("a tensor has too many dimensions");
    tensor->shape = calloc(2 * MOST_RANK, sizeof(int64_t));
    tensor->strides = tensor->shape + MOST_RANK;
    take(tensor->shape, (size_t)tensor->ndim * sizeof(int64_t));
    int64_t stride = 1;
    for (int32_t d = tensor->ndim; d-- > 0; stride *= tensor->shape[d]) tensor->strides[d] = stride;
    tensor->device.device_type = kDLCPU;
    take(&sizes[i], sizeof sizes[i]);
    tensor->data = allocate(sizes[i]);
    take(tensor->data, sizes[i]);
  }
  for (uint32_t n_calls = take_u32(); n_calls-- > 0;) {
    char symbol[256] = "__tvm_ffi_";
    const uint32_t length = take_u32();
    if (length + strlen(symbol) >= sizeof symbol) fail("a symbol is too long");
    take(symbol + strlen(symbol), length);
    TVMFFIAny values[MOST_ARGUMENTS + 2], result;
    memset(values, 0, sizeof values);
    memset(&result, 0, sizeof result);
    int32_t n_values = (int32_t)take_u32();
    if (n_values > MOST_ARGUMENTS) fail("a call has too many arguments");
    for (int32_t i = 0; i < n_values; ++i) {
      values[i].type_index = kTVMFFIDLTensorPtr;
      values[i].v_ptr = &tensors[take_u32()];
    }
    const uint32_t iterations = take_u32();
    if (iterations != 0) {
      values[n_values].type_index = values[n_values + 1].type_index = kTVMFFIInt;
      values[n_values + 1].v_int64 = iterations;
      n_values += 2;
    }
    const Kernel kernel = (Kernel)dlsym(library, symbol);
    if (kernel == NULL) fail(symbol);
    if (kernel(NULL, values, n_values, &result) != 0) fail(symbol);
  }
  for (uint32_t i = 0; i < n_tensors; ++i) {
    if (sizes[i] != 0 && fwrite(tensors[i].data, sizes[i], 1, results) != 1) fail("disk full");
  }
  return fclose(results);
}
