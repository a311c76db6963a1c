#include "opencl_api.h"

#include <dlfcn.h>

#include <mutex>
#include <stdexcept>

namespace tdse {
namespace opencl {
namespace {

struct Library {
  std::mutex mutex;
  std::string file = "libOpenCL.so.1";
  bool is_open = false;
  Api api{};
};

// Never destroyed, nor the library closed: modules may outlive the static objects of this one.
Library& GetLibrary() {
  static auto* library = new Library;
  return *library;
}

void* FindSymbol(void* handle, const std::string& file, const char* name) {
  void* symbol = dlsym(handle, name);
  if (symbol == nullptr) {
    throw std::runtime_error(file + " has no function " + name + "; OpenCL 1.2 or later is needed");
  }
  return symbol;
}

void Open(Library* library) {
  void* handle = dlopen(library->file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    throw std::runtime_error("OpenCL is not installed: " + library->file + " cannot be opened (" +
                             (reason ? reason : "unknown reason") +
                             "); install the driver of the device, and an ICD loader such as "
                             "Debian's ocl-icd-libopencl1");
  }
#define TDSE_FIND(result, name, ...) \
  library->api.name =                \
      reinterpret_cast<result (*)(__VA_ARGS__)>(FindSymbol(handle, library->file, "cl" #name));
  TDSE_OPENCL_FUNCTIONS(TDSE_FIND)
#undef TDSE_FIND
  library->is_open = true;
}

}  // namespace

void SetLibrary(const std::string& name) {
  Library& library = GetLibrary();
  const std::lock_guard<std::mutex> lock(library.mutex);
  if (library.is_open) throw std::runtime_error(library.file + " is open already");
  library.file = name;
}

const Api& GetApi() {
  Library& library = GetLibrary();
  const std::lock_guard<std::mutex> lock(library.mutex);
  if (!library.is_open) Open(&library);
  return library.api;
}

std::string Describe(cl_int status) {
  switch (status) {
    case kDeviceNotFound:
      return "CL_DEVICE_NOT_FOUND";
    case kDeviceNotAvailable:
      return "CL_DEVICE_NOT_AVAILABLE (the device was lost)";
    case -3:
      return "CL_COMPILER_NOT_AVAILABLE";
    case kMemObjectAllocationFailure:
      return "CL_MEM_OBJECT_ALLOCATION_FAILURE (the device's memory ran out)";
    case kOutOfResources:
      return "CL_OUT_OF_RESOURCES (the device's memory ran out, or the device failed)";
    case kOutOfHostMemory:
      return "CL_OUT_OF_HOST_MEMORY (memory ran out)";
    case -11:
      return "CL_BUILD_PROGRAM_FAILURE";
    case -14:
      return "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST";
    case -30:
      return "CL_INVALID_VALUE";
    case -33:
      return "CL_INVALID_DEVICE";
    case kInvalidContext:
      return "CL_INVALID_CONTEXT (the device was lost)";
    case kInvalidCommandQueue:
      return "CL_INVALID_COMMAND_QUEUE (the device was lost)";
    case -38:
      return "CL_INVALID_MEM_OBJECT";
    case -45:
      return "CL_INVALID_PROGRAM_EXECUTABLE";
    case -46:
      return "CL_INVALID_KERNEL_NAME";
    case -48:
      return "CL_INVALID_KERNEL";
    case -49:
      return "CL_INVALID_ARG_INDEX";
    case -50:
      return "CL_INVALID_ARG_VALUE";
    case -51:
      return "CL_INVALID_ARG_SIZE";
    case -52:
      return "CL_INVALID_KERNEL_ARGS";
    case -53:
      return "CL_INVALID_WORK_DIMENSION";
    case -54:
      return "CL_INVALID_WORK_GROUP_SIZE (the kernel needs more work-items than the device has)";
    case -55:
      return "CL_INVALID_WORK_ITEM_SIZE (the kernel needs more work-items than the device has)";
    case kInvalidBufferSize:
      return "CL_INVALID_BUFFER_SIZE (more than the device's memory holds)";
    case -63:
      return "CL_INVALID_GLOBAL_WORK_SIZE";
    case kPlatformNotFound:
      return "CL_PLATFORM_NOT_FOUND_KHR";
    default:
      return "OpenCL error " + std::to_string(status);
  }
}

}  // namespace opencl
}  // namespace tdse
