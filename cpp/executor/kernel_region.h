// Regions of compiled kernels, called as TVM's code generators have it.
#ifndef TDSE_EXECUTOR_KERNEL_REGION_H_
#define TDSE_EXECUTOR_KERNEL_REGION_H_

#include <tvm/ffi/c_api.h>

#include <functional>
#include <memory>
#include <string>

#include "region.h"

namespace tdse {

// A compiled function. Only the layout of its arguments is TVM's; no library of TVM's is needed.
struct Kernel {
  TVMFFISafeCallType call = nullptr;  // returns 0, or what `error` of its source explains
  void* self = nullptr;               // first argument of `call`
  std::shared_ptr<const void> owner;  // keeps both
};

// Where kernels are found.
struct KernelSource {
  // A kernel by its symbol; without `call` if there is none.
  std::function<Kernel(const std::string& symbol)> find;
  // What was wrong with the call on this thread that has just failed.
  std::function<std::string()> error;
};

// Calls the region's steps in order, each a destination-passing kernel on DLTensors. Throws
// std::runtime_error if there is not each kernel.
std::unique_ptr<Region> MakeKernelRegion(const Plan& plan, const PlanRegion& region,
                                         const KernelSource& kernels);

}  // namespace tdse

#endif  // TDSE_EXECUTOR_KERNEL_REGION_H_
