#include "openvino_api.h"

#include <dlfcn.h>

#include <algorithm>
#include <mutex>
#include <stdexcept>

namespace tdse {
namespace openvino {
namespace {

struct Library {
  std::mutex mutex;
  std::string path = "libopenvino_c.so";
  bool is_loaded = false;
  Api api{};
  Core* core = nullptr;
};

// Never destroyed, nor the library unloaded: regions may outlive the static objects of this one.
Library& GetLibrary() {
  static auto* library = new Library;
  return *library;
}

// The mutex is held.
void Load(Library* library) {
  if (library->is_loaded) return;
  void* handle = dlopen(library->path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    throw std::runtime_error("OpenVINO's library cannot be loaded: " +
                             std::string(reason ? reason : "unknown reason"));
  }
  const auto find = [&](const char* name) {
    void* symbol = dlsym(handle, name);
    if (symbol == nullptr) {
      throw std::runtime_error(library->path + " has no function " + name);
    }
    return symbol;
  };
#define TDSE_FIND(result, name, ...) \
  library->api.name = reinterpret_cast<result (*)(__VA_ARGS__)>(find("ov_" #name));
  TDSE_OPENVINO_FUNCTIONS(TDSE_FIND)
#undef TDSE_FIND
  library->is_loaded = true;
}

// The first line of what OpenVINO says that is more than where in its source it happened.
std::string Reason(const char* message) {
  std::string text = message == nullptr ? "" : message;
  std::string first;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.empty() || line.rfind("Exception from", 0) == 0) continue;
    first = line;
    break;
  }
  return first.empty() ? "OpenVINO gives no reason" : first;
}

}  // namespace

void SetLibrary(const std::string& path) {
  Library& library = GetLibrary();
  const std::lock_guard<std::mutex> lock(library.mutex);
  if (!library.is_loaded) library.path = path;
}

const Api& GetApi() {
  Library& library = GetLibrary();
  const std::lock_guard<std::mutex> lock(library.mutex);
  Load(&library);
  return library.api;
}

const Core* GetCore() {
  const Api& api = GetApi();
  Library& library = GetLibrary();
  const std::lock_guard<std::mutex> lock(library.mutex);
  if (library.core == nullptr) {
    const Status status = api.core_create(&library.core);
    if (status != kOk) {
      throw std::runtime_error("openvino: cannot start (status " + std::to_string(status) + ")");
    }
  }
  return library.core;
}

void Check(Status status, const std::string& what) {
  if (status == kOk) return;
  const char* message = GetApi().get_last_err_msg();
  const std::string reason = Reason(message);
  if (message != nullptr) GetApi().free(message);
  throw std::runtime_error("openvino: cannot " + what + ": " + reason);
}

}  // namespace openvino
}  // namespace tdse
