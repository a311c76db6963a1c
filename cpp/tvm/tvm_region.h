// Regions whose kernels TVM compiled.
#ifndef TDSE_TVM_TVM_REGION_H_
#define TDSE_TVM_TVM_REGION_H_

#include <tvm/ffi/function.h>
#include <tvm/ffi/optional.h>

#include <functional>
#include <memory>
#include <string>

#include "region.h"

namespace tdse {

// Finds a kernel by its symbol.
using KernelLookup =
    std::function<tvm::ffi::Optional<tvm::ffi::Function>(const std::string& symbol)>;

// Calls the region's steps in order, each a destination-passing kernel on DLTensors.
std::unique_ptr<Region> MakeTvmRegion(const PlanRegion& region, const KernelLookup& find_kernel);

}  // namespace tdse

#endif  // TDSE_TVM_TVM_REGION_H_
