#include "stream_module.h"

#include <utility>

#include "functions.h"

namespace tdse {

namespace ffi = tvm::ffi;

StreamModule::StreamModule(ffi::ObjectPtr<ffi::Object> owner, SharedExecutor* executor,
                           const Plan& plan)
    : owner_(std::move(owner)),
      executor_(*executor),
      plan_(plan),
      stream_(std::make_unique<Stream>(&executor->Get())) {}

StreamModule::~StreamModule() {
  // It would wait for threads that a forked process does not have.
  if (executor_.IsOfAnotherProcess()) stream_.release();
}

ffi::Optional<ffi::Function> StreamModule::GetFunction(const ffi::String& name) {
  static const std::pair<const char*, Method> kMethods[] = {
      {"push", &StreamModule::Push},
      {"ready", &StreamModule::Ready},
      {"pop", &StreamModule::Pop},
      {"cancel", &StreamModule::Cancel},
  };
  for (const auto& [method_name, method] : kMethods) {
    if (name == method_name) return FunctionOf(this, method);
  }
  return std::nullopt;
}

void StreamModule::Push(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, plan_.inputs.size(), "push");
  const std::unique_lock<std::mutex> lock = Lock();
  *result = stream_->TryPush(InputsOf(plan_, args, 0));
}

void StreamModule::Ready(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 0, "ready");
  const std::unique_lock<std::mutex> lock = Lock();
  *result = stream_->IsOldestDone();
}

void StreamModule::Pop(ffi::PackedArgs args, ffi::Any*) {
  RequireCount(args, plan_.outputs.size(), "pop");
  const std::unique_lock<std::mutex> lock = Lock();
  stream_->Pop(OutputsOf(plan_, args, 0));
}

void StreamModule::Cancel(ffi::PackedArgs args, ffi::Any*) {
  RequireCount(args, 0, "cancel");
  const std::unique_lock<std::mutex> lock = Lock();
  stream_->Cancel();
}

std::unique_lock<std::mutex> StreamModule::Lock() {
  // Throws in a forked process, where another thread may have had the mutex.
  executor_.Get();
  return std::unique_lock<std::mutex>(mutex_);
}

}  // namespace tdse
