// Compiled kernels in modules of tvm_ffi.
#ifndef TDSE_TVM_KERNELS_H_
#define TDSE_TVM_KERNELS_H_

#include <tvm/ffi/function.h>
#include <tvm/ffi/optional.h>

#include <functional>
#include <string>

#include "kernel_region.h"

namespace tdse {

// Finds a kernel by its symbol.
using KernelLookup =
    std::function<tvm::ffi::Optional<tvm::ffi::Function>(const std::string& symbol)>;

// The same for regions that run on the host.
KernelSource KernelsOf(KernelLookup find_kernel);

}  // namespace tdse

#endif  // TDSE_TVM_KERNELS_H_
