// Compiled kernels that can be called, and written where a runtime module is linked.
#ifndef TDSE_TVM_KERNELS_MODULE_H_
#define TDSE_TVM_KERNELS_MODULE_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/extra/module.h>

namespace tdse {

// Kernels as one object file and as the shared library that was linked from it. In a runtime module
// that is exported, the object is what counts; it is linked into that, and this module is gone.
class KernelsModule final : public tvm::ffi::ModuleObj {
 public:
  static constexpr const char* kKind = "tdse_kernels";

  KernelsModule(tvm::ffi::Bytes object, tvm::ffi::Module library);

  const char* kind() const final { return kKind; }
  int GetPropertyMask() const final;
  tvm::ffi::Optional<tvm::ffi::Function> GetFunction(const tvm::ffi::String& name) final;
  // Writes the object file, whatever the format is called.
  void WriteToFile(const tvm::ffi::String& path, const tvm::ffi::String& format) const final;
  tvm::ffi::Array<tvm::ffi::String> GetWriteFormats() const final;

 private:
  const tvm::ffi::Bytes object_;
  const tvm::ffi::Module library_;
};

}  // namespace tdse

#endif  // TDSE_TVM_KERNELS_MODULE_H_
