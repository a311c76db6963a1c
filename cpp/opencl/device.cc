#include "device.h"

#include <algorithm>
#include <stdexcept>

namespace tdse {
namespace opencl {
namespace {

// Launches that may be under way before their results are looked at: some hundred bytes each.
constexpr size_t kMostLaunches = 1024;

bool IsLost(cl_int status) {
  return status == kDeviceNotAvailable || status == kInvalidContext ||
         status == kInvalidCommandQueue;
}

std::vector<std::unique_ptr<Device>> FindDevices() {
  const Api& api = GetApi();
  cl_uint count = 0;
  const cl_int status = api.GetPlatformIDs(0, nullptr, &count);
  if (status == kPlatformNotFound) count = 0;
  if (status != kSuccess && status != kPlatformNotFound) {
    throw std::runtime_error("clGetPlatformIDs failed with " + Describe(status));
  }
  std::vector<cl_platform_id> platforms(count);
  if (count > 0) api.GetPlatformIDs(count, platforms.data(), nullptr);
  std::vector<std::unique_ptr<Device>> devices;
  for (cl_platform_id platform : platforms) {
    // A platform whose hardware is not there has none, or refuses to say.
    cl_uint found = 0;
    if (api.GetDeviceIDs(platform, kDeviceTypeAll, 0, nullptr, &found) != kSuccess) continue;
    std::vector<cl_device_id> ids(found);
    if (api.GetDeviceIDs(platform, kDeviceTypeAll, found, ids.data(), nullptr) != kSuccess)
      continue;
    for (cl_device_id id : ids) devices.push_back(std::make_unique<Device>(id));
  }
  std::stable_partition(devices.begin(), devices.end(),
                        [](const std::unique_ptr<Device>& device) { return !device->is_cpu(); });
  return devices;
}

std::string DeviceText(cl_device_id id, cl_uint what) {
  const Api& api = GetApi();
  size_t size = 0;
  if (api.GetDeviceInfo(id, what, 0, nullptr, &size) != kSuccess || size == 0) return "";
  std::string text(size, '\0');
  if (api.GetDeviceInfo(id, what, size, text.data(), nullptr) != kSuccess) return "";
  return text.substr(0, text.find('\0'));
}

bool IsCpu(cl_device_id id) {
  cl_bitfield type = 0;
  GetApi().GetDeviceInfo(id, kDeviceType, sizeof(type), &type, nullptr);
  return (type & kDeviceTypeCpu) != 0;
}

}  // namespace

const std::vector<std::unique_ptr<Device>>& AllDevices() {
  // Never destroyed: drivers may be gone before the static objects of this library. An exception
  // leaves it to the next call to try again.
  static const auto* devices = new std::vector<std::unique_ptr<Device>>(FindDevices());
  return *devices;
}

Device& GetDevice(int index) {
  const std::vector<std::unique_ptr<Device>>& devices = AllDevices();
  if (index < 0 || static_cast<size_t>(index) >= devices.size()) {
    throw std::runtime_error("there is no OpenCL device " + std::to_string(index) +
                             ": the drivers that are installed offer " +
                             std::to_string(devices.size()));
  }
  return *devices[index];
}

Device::Device(cl_device_id id) : id_(id), name_(DeviceText(id, kDeviceName)), is_cpu_(IsCpu(id)) {}

size_t Device::allocated_bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return allocated_bytes_;
}

std::string Device::TextInfo(cl_uint what) const { return DeviceText(id_, what); }

Buffer* Device::Allocate(size_t size) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Open();
  RequireNotLost();
  cl_int status = kSuccess;
  // A tensor without elements has an address all the same, and OpenCL has no empty buffers.
  cl_mem memory =
      GetApi().CreateBuffer(context_, kMemReadWrite, std::max<size_t>(size, 1), nullptr, &status);
  CheckCommand(status, ("clCreateBuffer of " + std::to_string(size) + " bytes").c_str());
  allocated_bytes_ += size;
  return new Buffer{this, memory, size};
}

void Device::Free(Buffer* buffer) {
  const std::lock_guard<std::mutex> lock(mutex_);
  GetApi().ReleaseMemObject(buffer->memory);
  allocated_bytes_ -= buffer->size;
  delete buffer;
}

Buffer* Device::TakeWorkspace(size_t size) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = free_workspaces_.lower_bound(size);
    if (found != free_workspaces_.end()) {
      Buffer* buffer = found->second;
      free_workspaces_.erase(found);
      return buffer;
    }
  }
  return Allocate(size);
}

void Device::GiveWorkspace(Buffer* buffer) {
  const std::lock_guard<std::mutex> lock(mutex_);
  free_workspaces_.emplace(buffer->size, buffer);
}

void Device::Write(const void* from, Buffer* to, size_t offset, size_t size) {
  if (size == 0) return;
  const cl_int status = GetApi().EnqueueWriteBuffer(queue_, to->memory, kTrue, offset, size, from,
                                                    0, nullptr, nullptr);
  const std::lock_guard<std::mutex> lock(mutex_);
  CheckCommand(status, "clEnqueueWriteBuffer");
}

void Device::Read(const Buffer& from, size_t offset, void* to, size_t size) {
  if (size == 0) return;
  const cl_int status =
      GetApi().EnqueueReadBuffer(queue_, from.memory, kTrue, offset, size, to, 0, nullptr, nullptr);
  const std::lock_guard<std::mutex> lock(mutex_);
  CheckCommand(status, "clEnqueueReadBuffer");
  // What was read is worth nothing if the kernel that made it failed.
  CollectLaunches();
  RequireNotLost();
}

void Device::Copy(const Buffer& from, size_t from_offset, Buffer* to, size_t to_offset,
                  size_t size) {
  if (size == 0) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  RequireNotLost();
  CheckCommand(GetApi().EnqueueCopyBuffer(queue_, from.memory, to->memory, from_offset, to_offset,
                                          size, 0, nullptr, nullptr),
               "clEnqueueCopyBuffer");
}

cl_kernel Device::Compile(const std::string& source, const std::string& name) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    Open();
    RequireNotLost();
  }
  const Api& api = GetApi();
  const char* text = source.data();
  const size_t length = source.size();
  cl_int status = kSuccess;
  cl_program program = api.CreateProgramWithSource(context_, 1, &text, &length, &status);
  Check(status, "clCreateProgramWithSource");
  status = api.BuildProgram(program, 1, &id_, "", nullptr, nullptr);
  if (status != kSuccess) {
    size_t size = 0;
    api.GetProgramBuildInfo(program, id_, kProgramBuildLog, 0, nullptr, &size);
    std::string log(size, '\0');
    api.GetProgramBuildInfo(program, id_, kProgramBuildLog, size, log.data(), nullptr);
    api.ReleaseProgram(program);
    Fail("compiling the kernel " + name + " (" + log.substr(0, log.find('\0')) + ")", status);
  }
  cl_kernel kernel = api.CreateKernel(program, name.c_str(), &status);
  // The kernel keeps its program.
  api.ReleaseProgram(program);
  Check(status, "clCreateKernel of " + name);
  return kernel;
}

void Device::Finish() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (queue_ == nullptr) return;
  }
  const cl_int status = GetApi().Finish(queue_);
  const std::lock_guard<std::mutex> lock(mutex_);
  CheckCommand(status, "clFinish");
  CollectLaunches();
  RequireNotLost();
}

void Device::Check(cl_int status, const std::string& call) const {
  if (status != kSuccess) Fail(call, status);
}

void Device::Open() {
  if (queue_ != nullptr) return;
  const Api& api = GetApi();
  cl_int status = kSuccess;
  if (context_ == nullptr) {
    cl_context made = api.CreateContext(nullptr, 1, &id_, nullptr, nullptr, &status);
    Check(status, "clCreateContext");
    context_ = made;
  }
  cl_command_queue made = api.CreateCommandQueue(context_, id_, 0, &status);
  Check(status, "clCreateCommandQueue");
  queue_ = made;
}

void Device::Enqueue(cl_kernel kernel, const Range& range) {
  RequireNotLost();
  if (launches_.size() >= kMostLaunches) {
    CheckCommand(GetApi().Finish(queue_), "clFinish");
    CollectLaunches();
    RequireNotLost();
  }
  cl_event launch = nullptr;
  CheckCommand(GetApi().EnqueueNDRangeKernel(queue_, kernel, 3, nullptr, range.global, range.local,
                                             0, nullptr, &launch),
               "clEnqueueNDRangeKernel");
  launches_.push_back(launch);
}

void Device::CollectLaunches() {
  const Api& api = GetApi();
  const auto has_ended = [&](cl_event launch) {
    // 0 for a launch that is done, positive for one that is not, negative for one that failed.
    cl_int state = kSuccess;
    const cl_int status =
        api.GetEventInfo(launch, kEventCommandExecutionStatus, sizeof(state), &state, nullptr);
    const cl_int failure = status != kSuccess ? status : std::min(state, kSuccess);
    if (failure != kSuccess && lost_.empty()) lost_ = "a kernel failed with " + Describe(failure);
    if (failure == kSuccess && state > 0) return false;
    api.ReleaseEvent(launch);
    return true;
  };
  launches_.erase(std::remove_if(launches_.begin(), launches_.end(), has_ended), launches_.end());
}

void Device::RequireNotLost() const {
  if (lost_.empty()) return;
  throw std::runtime_error("OpenCL device '" + name_ + "' was lost: " + lost_ +
                           "; restart the process, and see the system's log for what its driver "
                           "says");
}

void Device::CheckCommand(cl_int status, const char* call) {
  if (status == kSuccess) return;
  if (IsLost(status) && lost_.empty())
    lost_ = std::string(call) + " failed with " + Describe(status);
  RequireNotLost();
  Fail(call, status);
}

void Device::Fail(const std::string& call, cl_int status) const {
  throw std::runtime_error("OpenCL device '" + name_ + "': " + call + " failed with " +
                           Describe(status));
}

}  // namespace opencl
}  // namespace tdse
