/* A model.so as TVM's exporter writes it, with kernels that a person can read. */
#include <tvm/ffi/c_api.h>

const unsigned char __tvm_ffi__library_bin[] = {
#include EXAMPLE_BYTES
};

/* What TVM's code generators call; whoever loads the library sets them. */
void* (*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int);
int (*__TVMBackendFreeWorkspace)(int, int, void*);

static signed char* data_of(const TVMFFIAny* argument) {
  return ((DLTensor*)argument->v_ptr)->data;
}

/* Of 64 parts, those from the third argument up to the fourth. */
int __tvm_ffi_add_one(void* self, const TVMFFIAny* arguments, int32_t count, TVMFFIAny* result) {
  const signed char* x = data_of(&arguments[0]);
  signed char* y = data_of(&arguments[1]);
  (void)self, (void)result;
  if (count != 4) return -1;
  for (int64_t i = arguments[2].v_int64 * 64; i < arguments[3].v_int64 * 64; ++i) {
    y[i] = (signed char)(x[i] + 1);
  }
  return 0;
}

/* Fails for a first element of 100, as a kernel that gets no memory. */
int __tvm_ffi_twice(void* self, const TVMFFIAny* arguments, int32_t count, TVMFFIAny* result) {
  const signed char* x = data_of(&arguments[0]);
  signed char* y = data_of(&arguments[1]);
  signed char* copy = __TVMBackendAllocWorkspace(kDLCPU, 0, 4096, kDLInt, 8);
  (void)self, (void)result;
  if (copy == 0 || count != 2) return -1;
  for (int i = 0; i < 4096; ++i) copy[i] = x[i];
  for (int i = 0; i < 4096; ++i) y[i] = (signed char)(2 * copy[i]);
  if (__TVMBackendFreeWorkspace(kDLCPU, 0, copy) != 0) return -1;
  return x[0] == 100 ? -1 : 0;
}
