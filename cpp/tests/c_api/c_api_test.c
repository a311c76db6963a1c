/* The C interface, called from C: c_api_test EXAMPLE.so OF_PYTHON.so OF_TVM.so */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tdse/executor.h"

#define ELEMENTS 4096

static int checks = 0;

#define CHECK(condition)                                                                       \
  do {                                                                                         \
    __sync_fetch_and_add(&checks, 1);                                                          \
    if (!(condition)) {                                                                        \
      printf("FAILED   %s:%d: %s; error: %s\n", __FILE__, __LINE__, #condition, tdse_error()); \
      exit(1);                                                                                 \
    }                                                                                          \
  } while (0)

static int says(const char* text) {
  return strstr(tdse_error(), text) != NULL && strchr(tdse_error(), '\n') == NULL;
}

static void fill(signed char* x, int first) {
  for (int i = 0; i < ELEMENTS; ++i) x[i] = (signed char)((first + i) % 50);
}

static int is_right(const signed char* y, int first) {
  for (int i = 0; i < ELEMENTS; ++i) {
    if (y[i] != 2 * ((first + i) % 50 + 1)) return 0;
  }
  return 1;
}

static void describes_itself(tdse_model* model) {
  CHECK(tdse_input_count(model) == 1);
  CHECK(tdse_output_count(model) == 1);
  const tdse_tensor* x = tdse_input(model, 0);
  CHECK(strcmp(x->name, "x") == 0);
  CHECK(strcmp(x->dtype, "int8") == 0);
  CHECK(x->rank == 1 && x->shape[0] == ELEMENTS && x->size_bytes == ELEMENTS);
  CHECK(strcmp(tdse_output(model, 0)->name, "y") == 0);
  CHECK(tdse_input(model, 1) == NULL && tdse_output(model, 1) == NULL);
  CHECK(strstr(tdse_describe(model), "\"lanes\":[{\"name\":\"one\"") != NULL);
}

static void runs(tdse_model* model, int first) {
  signed char x[ELEMENTS + 1], y[ELEMENTS + 1];
  /* No alignment is needed. */
  const void* inputs[] = {x + 1};
  void* outputs[] = {y + 1};
  fill(x + 1, first);
  CHECK(tdse_run(model, inputs, outputs) == 0);
  CHECK(is_right(y + 1, first));
}

static void failed_runs(tdse_model* model) {
  signed char x[ELEMENTS] = {99}, y[ELEMENTS];
  const void* inputs[] = {x};
  void* outputs[] = {y};
  CHECK(tdse_run(model, inputs, outputs) == -1);
  CHECK(says("region second: there is not enough memory for a kernel"));
  runs(model, 7);
}

static void streams(tdse_model* model) {
  signed char x[ELEMENTS], y[ELEMENTS];
  const void* inputs[] = {x};
  void* outputs[] = {y};
  tdse_stream* stream = tdse_stream_open(model);
  CHECK(stream != NULL);
  CHECK(tdse_stream_ready(stream) == 0);
  CHECK(tdse_stream_pop(stream, outputs) == -1);
  CHECK(says("nothing is in the stream"));
  int pushed = 0, popped = 0, most = 0;
  while (popped < 30) {
    fill(x, pushed);
    /* The fifth run fails; those after it go on. */
    if (pushed == 5) x[0] = 99;
    const int status = pushed < 30 ? tdse_stream_push(stream, inputs) : 0;
    CHECK(status >= 0);
    if (status == 1) {
      ++pushed;
      if (pushed - popped > most) most = pushed - popped;
      continue;
    }
    if (popped == 5) {
      CHECK(tdse_stream_pop(stream, outputs) == -1);
    } else {
      CHECK(tdse_stream_pop(stream, outputs) == 0);
      CHECK(is_right(y, popped));
    }
    ++popped;
  }
  CHECK(most == 4);
  CHECK(tdse_stream_push(stream, inputs) == 1);
  tdse_stream_close(stream);
}

static void* run_often(void* model) {
  for (int i = 0; i < 20; ++i) runs(model, i);
  return NULL;
}

static void runs_from_threads(tdse_model* model) {
  pthread_t threads[3];
  for (int i = 0; i < 3; ++i) CHECK(pthread_create(&threads[i], NULL, run_often, model) == 0);
  for (int i = 0; i < 3; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void refuses(const char* of_python, const char* of_tvm, const char* program) {
  CHECK(tdse_load("missing/model.so") == NULL);
  CHECK(says("missing/model.so: the runtime module cannot be loaded: No such file"));
  CHECK(tdse_load(program) == NULL);
  CHECK(says("the runtime module cannot be loaded: "));
  CHECK(tdse_load(of_python) == NULL);
  CHECK(says("region second: regions of kind 'edgetpu' are run by Python"));
  CHECK(tdse_load(of_tvm) == NULL);
  CHECK(says("region second: regions of kind 'opencl' need TVM's runtime"));

  FILE* file = fopen("of_another_machine.so", "wb");
  unsigned char head[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
  head[18] = 243; /* EM_RISCV */
  CHECK(file != NULL && fwrite(head, 1, sizeof(head), file) == sizeof(head) && fclose(file) == 0);
  CHECK(tdse_load("of_another_machine.so") == NULL);
  CHECK(says("it is for riscv, this program is for "));
  CHECK(remove("of_another_machine.so") == 0);
}

int main(int count, char** arguments) {
  if (count != 4) return 2;
  CHECK(strcmp(tdse_error(), "") == 0);
  refuses(arguments[2], arguments[3], arguments[0]);
  tdse_model* model = tdse_load(arguments[1]);
  CHECK(model != NULL);
  describes_itself(model);
  runs(model, 0);
  failed_runs(model);
  streams(model);
  runs_from_threads(model);
  /* The same file once more. */
  tdse_model* second = tdse_load(arguments[1]);
  CHECK(second != NULL);
  tdse_free(model);
  runs(second, 3);
  tdse_free(second);
  tdse_free(NULL);
  tdse_stream_close(NULL);
  printf("passed   the C interface: %d checks\n", checks);
  return 0;
}
