// The executor as a module of tvm_ffi.
#ifndef TDSE_TVM_EXECUTOR_MODULE_H_
#define TDSE_TVM_EXECUTOR_MODULE_H_

#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/string.h>

#include <memory>

#include "buffers.h"
#include "plan.h"
#include "shared_executor.h"

namespace tdse {

// A plan, and the copy of its bytes, with aligned blobs, that it points into.
struct OwnedPlan {
  explicit OwnedPlan(const tvm::ffi::Bytes& bytes);

  const AlignedBuffer bytes;
  const Plan plan;
};

// A plan that can be exported with a TVM library, loaded again, and run.
//
// Kernels of TVM regions are found in the imported modules. Buffers, compiled regions and the
// threads of lanes are made at the first call. Several threads may call. A process that was forked
// after the module was made cannot. Functions, microseconds and other results as bytes of float64:
//
//   tdse_main(inputs..., outputs...)   tensors on the host, contiguous; copied in and out
//   run(inputs..., outputs...)         the same with addresses (int), not checked
//   stream()                           a module of kind tdse_stream, see stream_module.h
//   time_runs(count, inputs...)        latency of each run, [count]
//   time_stream(count, inputs...)      from the first input to each output of a stream, [count]
//   profile(count, inputs...)          of each region, [count, regions]
//   start_trace()                      from now on, note each region that runs
//   take_trace()                       [regions that ran, (item, region, lane, start, end)]
//   describe()                         JSON: inputs, outputs, lanes, regions, max_items,
//                                      arena_bytes
//   read_tensor(id)                    bytes of a tensor after the last call
//   plan()                             bytes that executor_create takes
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
  void OpenStream(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void TimeStream(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void StartTrace(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void TakeTrace(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void Describe(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void ReadTensor(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);
  void PlanBytes(tvm::ffi::PackedArgs args, tvm::ffi::Any* result);

  RegionFactories Factories();

  // Owned together with threads of lanes that may not end with this.
  const std::shared_ptr<const OwnedPlan> plan_;
  SharedExecutor executor_;
};

}  // namespace tdse

#endif  // TDSE_TVM_EXECUTOR_MODULE_H_
