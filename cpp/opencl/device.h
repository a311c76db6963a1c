// The OpenCL devices of this machine: memory, transfers, programs and launches.
#ifndef TDSE_OPENCL_DEVICE_H_
#define TDSE_OPENCL_DEVICE_H_

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "opencl_api.h"

namespace tdse {
namespace opencl {

class Device;

// Memory of a device; what TVM takes for the address of a tensor's data.
struct Buffer {
  Device* device;
  cl_mem memory;
  size_t size;
};

// Work-items of a launch in each dimension, and how many of them form a work-group.
struct Range {
  size_t global[3];
  size_t local[3];
};

// One device with one queue, whose commands run in the order in which they were given.
//
// Several threads may use a device. Errors are std::runtime_error with the device's name and
// OpenCL's name of the error. Once the device was lost, as when it was unplugged, when its driver
// was restarted or when a kernel failed, every further use of it throws.
class Device {
 public:
  explicit Device(cl_device_id id);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string& name() const { return name_; }
  bool is_cpu() const { return is_cpu_; }
  // Bytes of all buffers that there are, those of workspaces included.
  size_t allocated_bytes() const;

  template <typename T>
  T Info(cl_uint what) const {
    T value{};
    Check(GetApi().GetDeviceInfo(id_, what, sizeof(value), &value, nullptr), "clGetDeviceInfo");
    return value;
  }
  std::string TextInfo(cl_uint what) const;

  Buffer* Allocate(size_t size);
  // The commands that use it are still carried out. Throws nothing.
  void Free(Buffer* buffer);

  // A buffer of at least `size` bytes for as long as a few launches take. Those given back serve
  // again, which is safe as the queue is in order.
  Buffer* TakeWorkspace(size_t size);
  void GiveWorkspace(Buffer* buffer);

  // Each returns when the bytes have been copied.
  void Write(const void* from, Buffer* to, size_t offset, size_t size);
  void Read(const Buffer& from, size_t offset, void* to, size_t size);
  // Does not wait. Both buffers are this device's.
  void Copy(const Buffer& from, size_t from_offset, Buffer* to, size_t to_offset, size_t size);

  // The kernel `name` of a program in OpenCL C, compiled for this device; the caller releases it.
  cl_kernel Compile(const std::string& source, const std::string& name);

  // Launches `kernel` once `set_arguments()` has set its arguments, and does not wait for it.
  template <typename SetArguments>
  void Launch(cl_kernel kernel, const Range& range, const SetArguments& set_arguments) {
    // Arguments belong to the kernel until it is enqueued.
    const std::lock_guard<std::mutex> lock(mutex_);
    set_arguments();
    Enqueue(kernel, range);
  }

  // Waits until all commands were carried out. Throws if one of them failed.
  void Finish();

  // Throws unless `status` is kSuccess; `call` says what failed.
  void Check(cl_int status, const std::string& call) const;

 private:
  // Makes context and queue if there are none yet.
  void Open();
  // Needs mutex_.
  void Enqueue(cl_kernel kernel, const Range& range);
  // Needs mutex_. Forgets the launches that have ended, and notes if one of them failed.
  void CollectLaunches();
  // Needs mutex_.
  void RequireNotLost() const;
  // Needs mutex_. Like Check, and notes if the device was lost.
  void CheckCommand(cl_int status, const char* call);
  [[noreturn]] void Fail(const std::string& call, cl_int status) const;

  const cl_device_id id_;
  const std::string name_;
  const bool is_cpu_;

  mutable std::mutex mutex_;
  cl_context context_ = nullptr;
  cl_command_queue queue_ = nullptr;
  size_t allocated_bytes_ = 0;
  std::multimap<size_t, Buffer*> free_workspaces_;
  // Of launches whose end nobody has seen yet.
  std::vector<cl_event> launches_;
  // Why the device was lost; empty if it was not.
  std::string lost_;
};

// All devices, those that are no CPUs first, else in the order of OpenCL's platforms and their
// devices. Throws std::runtime_error if OpenCL is not installed.
const std::vector<std::unique_ptr<Device>>& AllDevices();

// Throws std::runtime_error if there is no such device.
Device& GetDevice(int index);

}  // namespace opencl
}  // namespace tdse

#endif  // TDSE_OPENCL_DEVICE_H_
