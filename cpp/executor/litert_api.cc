#include "litert_api.h"

#include <dlfcn.h>

#include <mutex>
#include <stdexcept>

#include "process_mark.h"

namespace tdse {
namespace litert {
namespace {

// LiteRtEnvOptionTag and LiteRtAnyType of LiteRT 2.3.
constexpr int kAutoRegisterAccelerators = 24;
constexpr int kMinLoggerSeverity = 25;
constexpr int kAnyInt = 2;
constexpr int64_t kSeverityError = 3;

// Needs ProcessMutex().
struct Library {
  std::string path = "libLiteRt.so";
  bool is_loaded = false;
  Api api{};
  Environment environment = nullptr;
};

// Never destroyed, nor the library unloaded: regions may outlive the static objects of this one.
Library& GetLibrary() {
  static auto* library = new Library;
  return *library;
}

void* FindSymbol(void* handle, const std::string& path, const char* name) {
  void* symbol = dlsym(handle, name);
  if (symbol == nullptr) {
    throw std::runtime_error(path + " has no function " + name +
                             "; tdse works with ai-edge-litert " + kExpectedVersion);
  }
  return symbol;
}

void Load(Library* library) {
  if (library->is_loaded) return;
  void* handle = dlopen(library->path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    throw std::runtime_error(
        "LiteRT's library cannot be loaded: " + std::string(reason ? reason : "unknown reason") +
        "; install ai-edge-litert " + kExpectedVersion);
  }
#define TDSE_FIND(result, name, ...)                             \
  library->api.name = reinterpret_cast<result (*)(__VA_ARGS__)>( \
      FindSymbol(handle, library->path, "LiteRt" #name));
  TDSE_LITERT_FUNCTIONS(TDSE_FIND)
#undef TDSE_FIND
  library->is_loaded = true;
}

const char* StatusName(Status status) {
  switch (status) {
    case 1:
      return "invalid argument";
    case 2:
      return "out of memory";
    case 3:
      return "runtime failure";
    case 4:
      return "missing input tensor";
    case 5:
      return "unsupported";
    case 6:
      return "not found";
    case 8:
      return "wrong version";
    case 500:
      return "file cannot be read";
    case 501:
      return "invalid flatbuffer";
    case 502:
      return "library cannot be loaded";
    case 503:
      return "serialisation failed";
    case 504:
      return "compilation failed";
    case 1000:
      return "index out of bounds";
    case 1001:
      return "invalid type";
    case 1002:
      return "invalid graph";
    case 2000:
      return "no legalisation matches";
    case 4000:
      return "runtime version not supported";
    default:
      return "unknown error";
  }
}

}  // namespace

void SetLibrary(const std::string& path) {
  const std::lock_guard<std::mutex> lock(ProcessMutex());
  Library& library = GetLibrary();
  if (!library.is_loaded) library.path = path;
}

const Api& GetApi() {
  const std::lock_guard<std::mutex> lock(ProcessMutex());
  Library& library = GetLibrary();
  Load(&library);
  return library.api;
}

Environment GetEnvironment() {
  const std::lock_guard<std::mutex> lock(ProcessMutex());
  Library& library = GetLibrary();
  Load(&library);
  if (library.environment == nullptr) {
    // Without these, LiteRT looks for graphics drivers and vendor plugins, and prints what it
    // finds.
    const EnvironmentOption options[] = {
        {kAutoRegisterAccelerators, {kAnyInt, kCpu}},
        {kMinLoggerSeverity, {kAnyInt, kSeverityError}},
    };
    Check(library.api.CreateEnvironment(2, options, &library.environment), "create an environment");
  }
  return library.environment;
}

void Check(Status status, const std::string& what, const std::string& details) {
  if (status == kOk) return;
  std::string text = "litert: cannot " + what + ": " + StatusName(status) + " (status " +
                     std::to_string(status) + ")";
  if (!details.empty()) text += ": " + details;
  throw std::runtime_error(text);
}

}  // namespace litert
}  // namespace tdse
