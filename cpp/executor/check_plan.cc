#include "check_plan.h"

#include <sched.h>

#include <set>
#include <stdexcept>
#include <string>

namespace tdse {
namespace {

constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kMaxLanes = 1024;
constexpr uint32_t kMaxItemsPerLane = 1024;
constexpr uint32_t kMaxSpinUs = 1000000;

[[noreturn]] void Malformed(const std::string& why) {
  throw std::runtime_error("the executor plan is malformed: " + why);
}

class Checker {
 public:
  explicit Checker(const Plan& plan)
      : plan_(plan),
        state_(plan.tensors.size(), State::kUnwritten),
        mark_(plan.tensors.size(), 0) {}

  void Check() {
    CheckConstants();
    for (TensorId id : plan_.inputs) {
      RequireInRange(id, "an input of the plan");
      if (state_[id] != State::kUnwritten) Malformed(Quoted(id) + " is an input twice or constant");
      state_[id] = State::kWritten;
    }
    if (plan_.lanes.size() > kMaxLanes) Malformed("it has too many lanes");
    for (const PlanLane& lane : plan_.lanes) CheckLane(lane);
    if (plan_.items_per_lane < 1 || plan_.items_per_lane > kMaxItemsPerLane) {
      Malformed("it allows no items in flight, or too many");
    }
    for (const PlanRegion& region : plan_.regions) CheckRegion(region);
    for (TensorId id : plan_.outputs) {
      RequireInRange(id, "an output of the plan");
      if (!IsReadable(id)) Malformed("output " + Quoted(id) + " is computed by no region");
    }
  }

 private:
  // kLocal: an intermediate of a region that has been checked already.
  enum class State : uint8_t { kUnwritten, kConstant, kWritten, kLocal };

  bool IsReadable(TensorId id) const {
    return state_[id] == State::kConstant || state_[id] == State::kWritten;
  }

  std::string Quoted(TensorId id) const { return "tensor '" + plan_.tensors[id].name + "'"; }

  void RequireInRange(TensorId id, const std::string& what) const {
    if (id >= plan_.tensors.size()) Malformed(what + " is a tensor that does not exist");
  }

  void CheckConstants() {
    for (TensorId id = 0; id < plan_.tensors.size(); ++id) {
      const PlanTensor& tensor = plan_.tensors[id];
      if (tensor.constant_blob < -1 ||
          tensor.constant_blob >= static_cast<int64_t>(plan_.blobs.size())) {
        Malformed(Quoted(id) + " refers to a blob that does not exist");
      }
      if (!tensor.is_constant()) continue;
      if (plan_.blobs[tensor.constant_blob].size != tensor.size_bytes) {
        Malformed("the value of " + Quoted(id) + " is not of the tensor's size");
      }
      state_[id] = State::kConstant;
    }
  }

  void CheckLane(const PlanLane& lane) {
    const std::string where = "lane '" + lane.name + "': ";
    for (const uint32_t cpu : lane.cpus) {
      if (cpu >= CPU_SETSIZE) Malformed(where + "there is no CPU " + std::to_string(cpu));
    }
    if (lane.spin_us > kMaxSpinUs) Malformed(where + "it spins for more than a second");
  }

  void CheckRegion(const PlanRegion& region) {
    const std::string where = "region '" + region.name + "': ";
    if (region.threads < 1 || region.threads > kMaxThreads) {
      Malformed(where + "a region runs on 1 to " + std::to_string(kMaxThreads) + " threads");
    }
    if (region.blob < -1 || region.blob >= static_cast<int64_t>(plan_.blobs.size())) {
      Malformed(where + "it refers to a blob that does not exist");
    }
    if (region.blob >= 0 && !region.steps.empty()) {
      Malformed(where + "it has both a model and steps");
    }
    if (region.lanes.empty()) Malformed(where + "it is on no lane");
    for (const LaneId lane : region.lanes) {
      if (lane >= plan_.lanes.size()) Malformed(where + "it is on a lane that does not exist");
    }
    if (std::set(region.lanes.begin(), region.lanes.end()).size() != region.lanes.size()) {
      Malformed(where + "it is on a lane twice");
    }
    for (TensorId id : region.inputs) {
      RequireInRange(id, where + "an input");
      if (!IsReadable(id)) Malformed(where + "input " + Quoted(id) + " is not computed before it");
    }
    for (TensorId id : region.outputs) {
      RequireInRange(id, where + "an output");
      if (state_[id] != State::kUnwritten) {
        Malformed(where + "output " + Quoted(id) + " has a value already");
      }
      state_[id] = State::kWritten;
    }
    CheckSteps(region, where);
  }

  // Steps may touch the region's inputs and outputs, constants, and intermediates of their own.
  void CheckSteps(const PlanRegion& region, const std::string& where) {
    if (region.steps.empty()) return;
    const uint32_t mark = ++marks_;
    for (TensorId id : region.inputs) mark_[id] = mark;
    for (TensorId id : region.outputs) mark_[id] = mark;
    for (const PlanStep& step : region.steps) {
      for (TensorId id : step.arguments) {
        RequireInRange(id, where + "an argument of " + step.symbol);
        if (mark_[id] == mark || state_[id] == State::kConstant) continue;
        if (state_[id] != State::kUnwritten) {
          Malformed(where + step.symbol + " uses " + Quoted(id) + ", which is not its own");
        }
        mark_[id] = mark;
        state_[id] = State::kLocal;
      }
    }
    const uint32_t used = ++marks_;
    for (const PlanStep& step : region.steps) {
      for (TensorId id : step.arguments) mark_[id] = used;
    }
    for (TensorId id : region.outputs) {
      if (mark_[id] != used) Malformed(where + "no step computes output " + Quoted(id));
    }
  }

  const Plan& plan_;
  std::vector<State> state_;
  // Tensors seen in one pass over a region: those whose entry is the pass's own number.
  std::vector<uint32_t> mark_;
  uint32_t marks_ = 0;
};

}  // namespace

void CheckPlan(const Plan& plan) { Checker(plan).Check(); }

}  // namespace tdse
