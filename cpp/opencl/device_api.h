// OpenCL as a device of TVM.
#ifndef TDSE_OPENCL_DEVICE_API_H_
#define TDSE_OPENCL_DEVICE_API_H_

#include <tvm/runtime/device_api.h>

#include "device.h"

namespace tdse {
namespace opencl {

// What tvm.device("opencl", i) stands for: AllDevices()[i]. Data addresses of tensors are Buffer*.
//
// Nothing is opened before a device is asked for. There is one stream for each device.
class OpenClDeviceApi final : public tvm::runtime::DeviceAPI {
 public:
  static OpenClDeviceApi* Global();

  void SetDevice(tvm::Device device) final;
  // Where there is no OpenCL, no device exists; to ask for anything else throws.
  void GetAttr(tvm::Device device, tvm::runtime::DeviceAttrKind kind, tvm::ffi::Any* result) final;
  void* AllocDataSpace(tvm::Device device, size_t bytes, size_t alignment, DLDataType type) final;
  void FreeDataSpace(tvm::Device device, void* data) final;
  void* AllocWorkspace(tvm::Device device, size_t bytes, DLDataType type) final;
  void FreeWorkspace(tvm::Device device, void* data) final;
  void StreamSync(tvm::Device device, TVMStreamHandle stream) final;

  // The device that the calling thread has set last.
  static int CurrentDevice();

 protected:
  void CopyDataFromTo(const void* from, size_t from_offset, void* to, size_t to_offset,
                      size_t bytes, tvm::Device from_device, tvm::Device to_device, DLDataType type,
                      TVMStreamHandle stream) final;
};

}  // namespace opencl
}  // namespace tdse

#endif  // TDSE_OPENCL_DEVICE_API_H_
