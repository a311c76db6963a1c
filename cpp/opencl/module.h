// Kernels that TVM generated as OpenCL C, as a module of tvm_ffi.
#ifndef TDSE_OPENCL_MODULE_H_
#define TDSE_OPENCL_MODULE_H_

#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/optional.h>
#include <tvm/ffi/string.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "device.h"

namespace tdse {
namespace opencl {

// What TVM's code generator says of a kernel.
struct KernelInfo {
  std::string name;
  std::vector<DLDataType> argument_types;
  // What each number after the arguments is: the extent of blockIdx.x, threadIdx.y and so on.
  std::vector<std::string> launch_tags;
  // TVM's own marks of arguments; kept for whoever reads the module next.
  std::vector<int32_t> argument_tags;
};

// Kernels, compiled for a device when they are first called on it. Its functions have the kernels'
// names and take their arguments, then the extents that launch_tags names; they do not wait.
class OpenClModule final : public tvm::ffi::ModuleObj {
 public:
  // Throws std::runtime_error if a kernel is launched in a way that OpenCL has not.
  OpenClModule(std::string format, std::string code, std::vector<KernelInfo> kernels);
  ~OpenClModule();

  // The same from what SaveToBytes returned. Throws std::runtime_error if it is something else.
  static tvm::ffi::Module Load(const tvm::ffi::Bytes& bytes);

  const char* kind() const final { return "opencl"; }
  int GetPropertyMask() const final;
  tvm::ffi::Bytes SaveToBytes() const final;
  tvm::ffi::String InspectSource(const tvm::ffi::String& format) const final;
  tvm::ffi::Optional<tvm::ffi::Function> GetFunction(const tvm::ffi::String& name) final;

 private:
  struct Kernel;

  void Launch(const Kernel& kernel, tvm::ffi::PackedArgs args);
  // The kernel compiled for a device, which it is at the first call.
  cl_kernel Compiled(const Kernel& kernel, Device* device);

  const std::string format_;
  const std::string code_;
  std::vector<Kernel> kernels_;

  std::mutex mutex_;
  std::map<std::pair<const Kernel*, Device*>, cl_kernel> compiled_;
};

}  // namespace opencl
}  // namespace tdse

#endif  // TDSE_OPENCL_MODULE_H_
