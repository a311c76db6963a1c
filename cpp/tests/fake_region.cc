#include "fake_region.h"

#include <memory>
#include <utility>

namespace tdse {
namespace {

class BoundFakeRegion final : public BoundRegion {
 public:
  BoundFakeRegion(const Plan& plan, const std::vector<FakeCall>& calls, const TensorViews& tensors)
      : plan_(plan), calls_(calls), tensors_(tensors) {}

  void Run() override {
    for (const FakeCall& call : calls_) {
      FakeKernel kernel;
      for (TensorId id : call.reads) kernel.Read(Data(id), plan_.tensors[id].size_bytes);
      for (TensorId id : call.writes) kernel.Write(Data(id), plan_.tensors[id].size_bytes, id);
    }
  }

 private:
  uint8_t* Data(TensorId id) const { return static_cast<uint8_t*>(tensors_[id].data); }

  const Plan& plan_;
  const std::vector<FakeCall>& calls_;
  const TensorViews& tensors_;
};

class FakeRegion final : public Region {
 public:
  FakeRegion(const Plan& plan, const PlanRegion& region)
      : plan_(plan), calls_(FakeCalls(plan, region)) {}

  std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) override {
    return std::make_unique<BoundFakeRegion>(plan_, calls_, tensors);
  }

 private:
  const Plan& plan_;
  const std::vector<FakeCall> calls_;
};

class BoundFunction final : public BoundRegion {
 public:
  BoundFunction(const std::function<void(const TensorViews&)>& run, const TensorViews& tensors)
      : run_(run), tensors_(tensors) {}

  void Run() override { run_(tensors_); }

 private:
  const std::function<void(const TensorViews&)>& run_;
  const TensorViews& tensors_;
};

class FunctionRegion final : public Region {
 public:
  explicit FunctionRegion(std::function<void(const TensorViews&)> run) : run_(std::move(run)) {}

  std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) override {
    return std::make_unique<BoundFunction>(run_, tensors);
  }

 private:
  const std::function<void(const TensorViews&)> run_;
};

}  // namespace

std::unique_ptr<Region> RegionOf(std::function<void(const TensorViews&)> run) {
  return std::make_unique<FunctionRegion>(std::move(run));
}

void FakeKernel::Read(const uint8_t* data, size_t size) {
  for (size_t i = 0; i < size; ++i) hash_ = (hash_ ^ data[i]) * 16777619u;
}

void FakeKernel::Write(uint8_t* data, size_t size, TensorId id) const {
  for (size_t i = 0; i < size; ++i) data[i] = static_cast<uint8_t>((hash_ >> 16) + 31 * id + i);
}

std::vector<FakeCall> FakeCalls(const Plan& plan, const PlanRegion& region) {
  if (region.steps.empty()) return {{region.inputs, region.outputs}};
  std::vector<FakeCall> calls;
  for (const PlanStep& step : region.steps) {
    FakeCall call{step.arguments, {}};
    if (!call.reads.empty() && !plan.tensors[call.reads.back()].is_constant()) {
      call.writes = {call.reads.back()};
      call.reads.pop_back();
    }
    calls.push_back(std::move(call));
  }
  return calls;
}

RegionFactories FakeFactories(const Plan& plan) {
  RegionFactories factories;
  for (const PlanRegion& region : plan.regions) {
    factories[region.kind] = [](const Plan& whole, const PlanRegion& part) {
      return std::make_unique<FakeRegion>(whole, part);
    };
  }
  return factories;
}

}  // namespace tdse
