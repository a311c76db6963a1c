// The executor for programs without tvm_ffi: one C function, which modules of TVM 0.x call.
#ifndef TDSE_REGION_RUN_PLAN_H_
#define TDSE_REGION_RUN_PLAN_H_

#include <cstdint>

extern "C" {

// Runs a plan whose regions are of kind `litert` or `emulated` (of what LiteRT's C interface runs).
//
// executor: where the executor is kept between calls; null at the first, which makes it. It stays
//     until the process ends.
// plan, size: as plan.h says; must stay where it is, at a multiple of 64.
// litert: path of libLiteRt.so; one that is not there is looked for by its name alone.
// tensors: addresses of contiguous host memory, the plan's inputs and then its outputs. A single
//     region of `litert` uses it as it is where it is aligned to 64; otherwise it is copied.
//
// Returns 0, or -1 after TVM has been told what went wrong (TVMAPISetLastError). Any thread may
// call; calls of one executor wait for each other.
__attribute__((visibility("default"))) int32_t tdse_run_plan(void** executor, const uint8_t* plan,
                                                             uint64_t size, const char* litert,
                                                             void* const* tensors);
}

#endif  // TDSE_REGION_RUN_PLAN_H_
