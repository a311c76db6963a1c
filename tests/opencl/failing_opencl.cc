// The system's OpenCL with failures: built and loaded in its place by test_failures.py.
//
// Functions that are not here are found in libOpenCL.so.1, which this library is linked with.
#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace {

std::string failing;
int32_t failure = 0;
int successes = 0;

// Whether a call of `function` fails now: it does so for ever after a number of successes.
bool Fails(const char* function) { return failing == function && successes-- <= 0; }

template <typename Function>
Function Real(Function, const char* name) {
  static void* library = dlopen("libOpenCL.so.1", RTLD_NOW);
  return reinterpret_cast<Function>(dlsym(library, name));
}

}  // namespace

extern "C" {

void fail(const char* function, int32_t status, int after) {
  failing = function;
  failure = status;
  successes = after;
}

void* clCreateBuffer(void* context, uint64_t flags, size_t size, void* host, int32_t* status) {
  if (Fails("clCreateBuffer")) return *status = failure, nullptr;
  return Real(clCreateBuffer, "clCreateBuffer")(context, flags, size, host, status);
}

int32_t clEnqueueNDRangeKernel(void* queue, void* kernel, uint32_t dimensions, const size_t* offset,
                               const size_t* global, const size_t* local, uint32_t count,
                               const void* events, void** event) {
  if (Fails("clEnqueueNDRangeKernel")) return failure;
  return Real(clEnqueueNDRangeKernel, "clEnqueueNDRangeKernel")(
      queue, kernel, dimensions, offset, global, local, count, events, event);
}

// A launch that was accepted and failed later.
int32_t clGetEventInfo(void* event, uint32_t what, size_t size, void* value, size_t* needed) {
  const int32_t status = Real(clGetEventInfo, "clGetEventInfo")(event, what, size, value, needed);
  if (Fails("clGetEventInfo")) *static_cast<int32_t*>(value) = failure;
  return status;
}

}  // extern "C"
