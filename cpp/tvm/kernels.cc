#include "kernels.h"

#include <tvm/ffi/error.h>

#include <memory>
#include <utility>

namespace tdse {
namespace {

namespace ffi = tvm::ffi;

Kernel KernelOf(ffi::Function function) {
  auto owner = std::make_shared<const ffi::Function>(std::move(function));
  auto* object = const_cast<ffi::FunctionObj*>(owner->get());
  return {object->safe_call, object, std::move(owner)};
}

}  // namespace

KernelSource KernelsOf(KernelLookup find_kernel) {
  return {
      [find_kernel = std::move(find_kernel)](const std::string& symbol) {
        ffi::Optional<ffi::Function> kernel = find_kernel(symbol);
        return kernel.has_value() ? KernelOf(*std::move(kernel)) : Kernel{};
      },
      [] { return ffi::details::MoveFromSafeCallRaised().message(); },
  };
}

}  // namespace tdse
