// A region that stands in for a compiled one, so that an executor runs without LiteRT and TVM.
#ifndef TDSE_TESTS_FAKE_REGION_H_
#define TDSE_TESTS_FAKE_REGION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "executor.h"

namespace tdse {

// What a fake kernel writes: bytes that depend on every byte it reads, and on the tensor written.
class FakeKernel {
 public:
  void Read(const uint8_t* data, size_t size);
  void Write(uint8_t* data, size_t size, TensorId id) const;

 private:
  uint32_t hash_ = 2166136261u;
};

// A call of a fake kernel: the tensors it reads, then those it writes.
struct FakeCall {
  std::vector<TensorId> reads;
  std::vector<TensorId> writes;
};

// The calls of a region: one for each step, which writes its last argument unless that is constant;
// or one for the whole region, if it has no steps.
std::vector<FakeCall> FakeCalls(const Plan& plan, const PlanRegion& region);

// A region that calls `run` with the tensors that it is bound to.
std::unique_ptr<Region> RegionOf(std::function<void(const TensorViews&)> run);

// A factory of fake regions for each kind in the plan.
RegionFactories FakeFactories(const Plan& plan);

}  // namespace tdse

#endif  // TDSE_TESTS_FAKE_REGION_H_
