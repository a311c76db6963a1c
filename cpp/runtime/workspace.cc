#include "workspace.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "buffers.h"

namespace tdse {
namespace {

// As tvm/runtime/c_backend_api.h declares them; kernels on the host only are run here.
void* Allocate(int /*device_type*/, int /*device_id*/, uint64_t bytes, int, int) {
  void* memory = nullptr;
  const int status = posix_memalign(&memory, kBufferAlignment, bytes == 0 ? 1 : bytes);
  return status == 0 ? memory : nullptr;
}

int Free(int /*device_type*/, int /*device_id*/, void* memory) {
  std::free(memory);
  return 0;
}

struct ContextSymbol {
  const char* name;
  void* function;
};

// Variables of an exported library through which its code calls TVM's runtime; there are those that
// the code uses. tdse compiles no kernel for the host that needs one of the others.
const ContextSymbol kGiven[] = {
    {"__TVMBackendAllocWorkspace", reinterpret_cast<void*>(&Allocate)},
    {"__TVMBackendFreeWorkspace", reinterpret_cast<void*>(&Free)},
};
const char* const kNotGiven[] = {"__TVMBackendParallelLaunch", "__TVMBackendParallelBarrier",
                                 "__TVMFFIFunctionCall", "__TVMFFIHandleInitOnce",
                                 "__TVMFFIEnvModLookupFromImports"};

}  // namespace

void GiveWorkspace(void* library) {
  for (const ContextSymbol& given : kGiven) {
    if (auto* variable = static_cast<void**>(dlsym(library, given.name))) {
      *variable = given.function;
    }
  }
}

void RequireNoMoreThanWorkspace(void* library) {
  for (const char* name : kNotGiven) {
    if (dlsym(library, name) != nullptr) {
      throw std::runtime_error(std::string("its kernels need TVM's runtime (") + name +
                               "); run it with TVM, or compile the model again");
    }
  }
}

}  // namespace tdse
