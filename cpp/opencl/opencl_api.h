// The part of OpenCL that tdse calls, found in the system's library at run time.
//
// So the package is built without OpenCL's headers, and is installed and imported where there is no
// OpenCL. Types, constants and functions are those of the OpenCL 1.2 specification (Khronos), which
// every later version keeps.
#ifndef TDSE_OPENCL_OPENCL_API_H_
#define TDSE_OPENCL_OPENCL_API_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace tdse {
namespace opencl {

using cl_int = int32_t;
using cl_uint = uint32_t;
using cl_ulong = uint64_t;
using cl_bool = cl_uint;
using cl_bitfield = cl_ulong;
using cl_platform_id = struct ClPlatform*;
using cl_device_id = struct ClDevice*;
using cl_context = struct ClContext*;
using cl_command_queue = struct ClCommandQueue*;
using cl_mem = struct ClMem*;
using cl_program = struct ClProgram*;
using cl_kernel = struct ClKernel*;
using cl_event = struct ClEvent*;

constexpr cl_bool kTrue = 1;
constexpr cl_int kSuccess = 0;
constexpr cl_int kDeviceNotFound = -1;
constexpr cl_int kDeviceNotAvailable = -2;
constexpr cl_int kMemObjectAllocationFailure = -4;
constexpr cl_int kOutOfResources = -5;
constexpr cl_int kOutOfHostMemory = -6;
constexpr cl_int kInvalidContext = -34;
constexpr cl_int kInvalidCommandQueue = -36;
constexpr cl_int kInvalidBufferSize = -61;
constexpr cl_int kPlatformNotFound = -1001;  // cl_khr_icd

constexpr cl_bitfield kDeviceTypeCpu = 1 << 1;
constexpr cl_bitfield kDeviceTypeAll = 0xFFFFFFFF;
constexpr cl_bitfield kMemReadWrite = 1 << 0;

constexpr cl_uint kDeviceType = 0x1000;
constexpr cl_uint kDeviceMaxComputeUnits = 0x1002;
constexpr cl_uint kDeviceMaxWorkGroupSize = 0x1004;
constexpr cl_uint kDeviceMaxClockFrequency = 0x100C;
constexpr cl_uint kDeviceGlobalMemSize = 0x101F;
constexpr cl_uint kDeviceLocalMemSize = 0x1023;
constexpr cl_uint kDeviceName = 0x102B;
constexpr cl_uint kDriverVersion = 0x102D;
constexpr cl_uint kDeviceVersion = 0x102F;
constexpr cl_uint kProgramBuildLog = 0x1183;
constexpr cl_uint kEventCommandExecutionStatus = 0x11D3;

using ContextNotify = void (*)(const char*, const void*, size_t, void*);
using ProgramNotify = void (*)(cl_program, void*);

// One entry for each function: result, name without the prefix cl, parameters.
#define TDSE_OPENCL_FUNCTIONS(F)                                                                  \
  F(cl_int, GetPlatformIDs, cl_uint, cl_platform_id*, cl_uint*)                                   \
  F(cl_int, GetDeviceIDs, cl_platform_id, cl_bitfield, cl_uint, cl_device_id*, cl_uint*)          \
  F(cl_int, GetDeviceInfo, cl_device_id, cl_uint, size_t, void*, size_t*)                         \
  F(cl_context, CreateContext, const intptr_t*, cl_uint, const cl_device_id*, ContextNotify,      \
    void*, cl_int*)                                                                               \
  F(cl_command_queue, CreateCommandQueue, cl_context, cl_device_id, cl_bitfield, cl_int*)         \
  F(cl_mem, CreateBuffer, cl_context, cl_bitfield, size_t, void*, cl_int*)                        \
  F(cl_int, ReleaseMemObject, cl_mem)                                                             \
  F(cl_int, EnqueueReadBuffer, cl_command_queue, cl_mem, cl_bool, size_t, size_t, void*, cl_uint, \
    const cl_event*, cl_event*)                                                                   \
  F(cl_int, EnqueueWriteBuffer, cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void*,   \
    cl_uint, const cl_event*, cl_event*)                                                          \
  F(cl_int, EnqueueCopyBuffer, cl_command_queue, cl_mem, cl_mem, size_t, size_t, size_t, cl_uint, \
    const cl_event*, cl_event*)                                                                   \
  F(cl_int, EnqueueNDRangeKernel, cl_command_queue, cl_kernel, cl_uint, const size_t*,            \
    const size_t*, const size_t*, cl_uint, const cl_event*, cl_event*)                            \
  F(cl_int, Finish, cl_command_queue)                                                             \
  F(cl_int, GetEventInfo, cl_event, cl_uint, size_t, void*, size_t*)                              \
  F(cl_int, ReleaseEvent, cl_event)                                                               \
  F(cl_program, CreateProgramWithSource, cl_context, cl_uint, const char**, const size_t*,        \
    cl_int*)                                                                                      \
  F(cl_int, BuildProgram, cl_program, cl_uint, const cl_device_id*, const char*, ProgramNotify,   \
    void*)                                                                                        \
  F(cl_int, GetProgramBuildInfo, cl_program, cl_device_id, cl_uint, size_t, void*, size_t*)       \
  F(cl_int, ReleaseProgram, cl_program)                                                           \
  F(cl_kernel, CreateKernel, cl_program, const char*, cl_int*)                                    \
  F(cl_int, SetKernelArg, cl_kernel, cl_uint, size_t, const void*)                                \
  F(cl_int, ReleaseKernel, cl_kernel)

struct Api {
#define TDSE_DECLARE(result, name, ...) result (*name)(__VA_ARGS__);
  TDSE_OPENCL_FUNCTIONS(TDSE_DECLARE)
#undef TDSE_DECLARE
};

// The library to open in place of libOpenCL.so.1. Throws std::runtime_error once one is open.
void SetLibrary(const std::string& name);

// The library, opened at the first call. Throws std::runtime_error if it cannot be: "OpenCL is not
// installed: ..." with what to do about it.
const Api& GetApi();

// The specification's name of an error, for example CL_OUT_OF_RESOURCES, and what it means where
// that helps.
std::string Describe(cl_int status);

}  // namespace opencl
}  // namespace tdse

#endif  // TDSE_OPENCL_OPENCL_API_H_
