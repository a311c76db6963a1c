// Regions whose kernels TVM compiled, and regions that Python's LiteRT interpreter runs.
#ifndef TDSE_TVM_TVM_REGION_H_
#define TDSE_TVM_TVM_REGION_H_

#include <tvm/ffi/function.h>
#include <tvm/ffi/optional.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "region.h"

namespace tdse {

// Finds a kernel by its symbol.
using KernelLookup =
    std::function<tvm::ffi::Optional<tvm::ffi::Function>(const std::string& symbol)>;

// Calls the region's steps in order, each a destination-passing kernel on DLTensors.
std::unique_ptr<Region> MakeTvmRegion(const PlanRegion& region, const KernelLookup& find_kernel);

// Calls what the global function tdse.litert_interpreter(slice, threads, sizes) returns, with the
// addresses of inputs and outputs, whose sizes in bytes it was told. For slices that LiteRT's C API
// refuses.
std::unique_ptr<Region> MakeInterpreterRegion(const Plan& plan, const PlanRegion& region);

}  // namespace tdse

#endif  // TDSE_TVM_TVM_REGION_H_
