// The executor as a module of tvm_ffi.
#ifndef TDSE_TVM_EXECUTOR_MODULE_H_
#define TDSE_TVM_EXECUTOR_MODULE_H_

#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/string.h>

#include <vector>

#include "buffers.h"
#include "plan.h"
#include "shared_executor.h"

namespace tdse {

// A plan that can be exported with a TVM library, loaded again, and run.
//
// Kernels of TVM regions are found in the imported modules. Buffers and compiled regions are made
// at the first call; calls from several threads are served one after the other. A process that was
// forked after the module was made cannot call it. Functions:
//
//   tdse_main(inputs..., outputs...)   tensors on the host, contiguous; copied in and out
//   run(inputs..., outputs...)         the same with addresses (int), not checked
//   time_runs(count, inputs...)        bytes: float64 microseconds, [count]
//   profile(count, inputs...)          bytes: float64 microseconds, [count, regions]
//   describe()                         JSON: inputs, outputs, regions, arena_bytes
//   read_tensor(id)                    bytes of a tensor after the last call
class ExecutorModule final : public tvm::ffi::ModuleObj {
 public:
  static constexpr const char* kKind = "tdse_executor";

  // Throws std::runtime_error if the plan is malformed.
  explicit ExecutorModule(const tvm::ffi::Bytes& plan);

  const char* kind() const final { return kKind; }
  int GetPropertyMask() const final;
  tvm::ffi::Bytes SaveToBytes() const final;
  tvm::ffi::Optional<tvm::ffi::Function> GetFunction(const tvm::ffi::String& name) final;

 private:
  using Method = void (ExecutorModule::*)(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);

  void Main(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void Run(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void TimeRuns(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void Profile(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void Describe(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void ReadTensor(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);

  RegionFactories Factories();

  // A copy whose blobs are aligned; plan_ points into it.
  const AlignedBuffer bytes_;
  const Plan plan_;
  SharedExecutor executor_;
  // Kept, so that a call allocates nothing. Only for use within executor_.Use.
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
};

}  // namespace tdse

#endif  // TDSE_TVM_EXECUTOR_MODULE_H_
