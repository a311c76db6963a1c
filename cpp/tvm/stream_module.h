// A stream through an executor as a module of tvm_ffi.
#ifndef TDSE_TVM_STREAM_MODULE_H_
#define TDSE_TVM_STREAM_MODULE_H_

#include <tvm/ffi/extra/module.h>

#include <memory>
#include <mutex>

#include "plan.h"
#include "shared_executor.h"

namespace tdse {

// A stream through an executor module. Several threads may call, one is served at a time.
//
//   push(inputs...)    addresses; copied in. false: pop first, too much is in flight
//   ready()            whether pop would not wait
//   pop(outputs...)    addresses; waits for the oldest item. Raises what the item failed with
//   cancel()           skips what is in flight, as the end of the module does
class StreamModule final : public tvm::ffi::ModuleObj {
 public:
  static constexpr const char* kKind = "tdse_stream";

  // Executor and plan are those of `owner`, which is kept alive.
  StreamModule(tvm::ffi::ObjectPtr<tvm::ffi::Object> owner, SharedExecutor* executor,
               const Plan& plan);
  ~StreamModule();

  const char* kind() const final { return kKind; }
  tvm::ffi::Optional<tvm::ffi::Function> GetFunction(const tvm::ffi::String& name) final;

 private:
  using Method = void (StreamModule::*)(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);

  void Push(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void Ready(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void Pop(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void Cancel(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);

  std::unique_lock<std::mutex> Lock();

  const tvm::ffi::ObjectPtr<tvm::ffi::Object> owner_;
  SharedExecutor& executor_;
  const Plan& plan_;
  std::mutex mutex_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace tdse

#endif  // TDSE_TVM_STREAM_MODULE_H_
