#include "device_api.h"

#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>
#include <tvm/ffi/string.h>

#include <exception>
#include <string>
#include <vector>

namespace tdse {
namespace opencl {
namespace {

namespace ffi = tvm::ffi;

thread_local int current_device = 0;

// The result of `work()`; what it throws becomes TVM's kind of error.
template <typename Work>
auto Told(const Work& work) {
  try {
    return work();
  } catch (const ffi::Error&) {
    throw;
  } catch (const std::exception& error) {
    TVM_FFI_THROW(RuntimeError) << error.what();
  }
  TVM_FFI_UNREACHABLE();
}

bool Exists(int index) {
  try {
    return index >= 0 && static_cast<size_t>(index) < AllDevices().size();
  } catch (const std::exception&) {
    return false;
  }
}

int64_t ToInt(uint64_t value) { return static_cast<int64_t>(value); }

}  // namespace

OpenClDeviceApi* OpenClDeviceApi::Global() {
  // Never destroyed: tensors may outlive the static objects of this library.
  static auto* api = new OpenClDeviceApi;
  return api;
}

void OpenClDeviceApi::SetDevice(tvm::Device device) { current_device = device.device_id; }

int OpenClDeviceApi::CurrentDevice() { return current_device; }

void OpenClDeviceApi::GetAttr(tvm::Device device, tvm::runtime::DeviceAttrKind kind,
                              ffi::Any* result) {
  if (kind == tvm::runtime::kExist) {
    *result = static_cast<int>(Exists(device.device_id));
    return;
  }
  Told([&] {
    const Device& asked = GetDevice(device.device_id);
    switch (kind) {
      case tvm::runtime::kMaxThreadsPerBlock:
        *result = ToInt(asked.Info<size_t>(kDeviceMaxWorkGroupSize));
        break;
      case tvm::runtime::kWarpSize:
        // Work-groups have no parts that run in step, as far as OpenCL tells.
        *result = 1;
        break;
      case tvm::runtime::kMaxSharedMemoryPerBlock:
        *result = ToInt(asked.Info<cl_ulong>(kDeviceLocalMemSize));
        break;
      case tvm::runtime::kComputeVersion:
        *result = ffi::String(asked.TextInfo(kDeviceVersion));
        break;
      case tvm::runtime::kDeviceName:
        *result = ffi::String(asked.name());
        break;
      case tvm::runtime::kMaxClockRate:
        // OpenCL tells MHz, TVM asks for kHz.
        *result = ToInt(asked.Info<cl_uint>(kDeviceMaxClockFrequency)) * 1000;
        break;
      case tvm::runtime::kMultiProcessorCount:
        *result = ToInt(asked.Info<cl_uint>(kDeviceMaxComputeUnits));
        break;
      case tvm::runtime::kDriverVersion:
        *result = ffi::String(asked.TextInfo(kDriverVersion));
        break;
      case tvm::runtime::kTotalGlobalMemory:
        *result = ToInt(asked.Info<cl_ulong>(kDeviceGlobalMemSize));
        break;
      case tvm::runtime::kAvailableGlobalMemory:
        // Less what this process has; OpenCL does not tell what others have.
        *result =
            ToInt(asked.Info<cl_ulong>(kDeviceGlobalMemSize)) - ToInt(asked.allocated_bytes());
        break;
      default:
        break;
    }
  });
}

void* OpenClDeviceApi::AllocDataSpace(tvm::Device device, size_t bytes, size_t, DLDataType) {
  return Told([&] { return GetDevice(device.device_id).Allocate(bytes); });
}

void OpenClDeviceApi::FreeDataSpace(tvm::Device, void* data) {
  auto* buffer = static_cast<Buffer*>(data);
  buffer->device->Free(buffer);
}

void* OpenClDeviceApi::AllocWorkspace(tvm::Device device, size_t bytes, DLDataType) {
  return Told([&] { return GetDevice(device.device_id).TakeWorkspace(bytes); });
}

void OpenClDeviceApi::FreeWorkspace(tvm::Device, void* data) {
  auto* buffer = static_cast<Buffer*>(data);
  buffer->device->GiveWorkspace(buffer);
}

void OpenClDeviceApi::StreamSync(tvm::Device device, TVMStreamHandle) {
  Told([&] { GetDevice(device.device_id).Finish(); });
}

void OpenClDeviceApi::CopyDataFromTo(const void* from, size_t from_offset, void* to,
                                     size_t to_offset, size_t bytes, tvm::Device from_device,
                                     tvm::Device to_device, DLDataType, TVMStreamHandle) {
  const bool is_from_opencl = from_device.device_type == kDLOpenCL;
  const bool is_to_opencl = to_device.device_type == kDLOpenCL;
  const auto* source = static_cast<const Buffer*>(from);
  auto* target = static_cast<Buffer*>(to);
  Told([&] {
    if (is_from_opencl && is_to_opencl && source->device == target->device) {
      target->device->Copy(*source, from_offset, target, to_offset, bytes);
    } else if (is_from_opencl && is_to_opencl) {
      // Devices have contexts of their own, so it goes through the host.
      std::vector<char> carried(bytes);
      source->device->Read(*source, from_offset, carried.data(), bytes);
      target->device->Write(carried.data(), target, to_offset, bytes);
    } else if (is_from_opencl) {
      source->device->Read(*source, from_offset, static_cast<char*>(to) + to_offset, bytes);
    } else {
      target->device->Write(static_cast<const char*>(from) + from_offset, target, to_offset, bytes);
    }
  });
}

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def_packed("device_api.opencl",
                  [](ffi::PackedArgs, ffi::Any* result) {
                    *result = static_cast<void*>(
                        static_cast<tvm::runtime::DeviceAPI*>(OpenClDeviceApi::Global()));
                  })
      .def("tdse.set_opencl_library",
           [](const ffi::String& name) { Told([&] { SetLibrary(std::string(name)); }); });
}

}  // namespace opencl
}  // namespace tdse
