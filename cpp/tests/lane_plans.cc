#include "lane_plans.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "fake_region.h"
#include "plans.h"

namespace tdse {
namespace {

constexpr std::chrono::seconds kLimit{30};

}  // namespace

bool Becomes(const std::function<bool()>& condition) {
  const Clock::time_point end = Clock::now() + kLimit;
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

bool Meeting::Meet() {
  const int round = arrivals_++ / 2;
  return Becomes([&] { return arrivals_ >= 2 * (round + 1); });
}

std::string ThreadStates() {
  std::string states;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(thread.path() / "stat");
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    // After the name, which is in brackets.
    if (!text.empty()) states += text.at(text.rfind(')') + 2);
  }
  return states;
}

std::vector<PlanLane> LanesNamed(const std::vector<std::string>& names) {
  std::vector<PlanLane> lanes;
  for (const std::string& name : names) lanes.push_back({name, {}, 0, 0});
  return lanes;
}

RegionFactories Factories(const Work& work) {
  return {{"fake", [work](const Plan&, const PlanRegion& region) {
             return RegionOf([&region, work](const TensorViews& tensors) {
               const auto at = [&](TensorId id) { return static_cast<uint8_t*>(tensors[id].data); };
               uint8_t value = 0;
               for (TensorId id : region.inputs) value = static_cast<uint8_t>(value + *at(id));
               value = work(region.name, value);
               for (TensorId id : region.outputs) *at(id) = value;
             });
           }}};
}

uint8_t Run(Executor* executor, uint8_t value) {
  uint8_t result = 0;
  executor->Run({&value}, {&result});
  return result;
}

bool Push(Stream* stream, uint8_t value) { return stream->TryPush({&value}); }

uint8_t Pop(Stream* stream) {
  uint8_t result = 0;
  stream->Pop({&result});
  return result;
}

Plan Branches() {
  Plan plan;
  plan.tensors = {Vector("x", 1), Vector("p", 1), Vector("q", 1), Vector("y", 1)};
  plan.inputs = {0};
  plan.outputs = {3};
  plan.lanes = LanesNamed({"first", "second"});
  plan.regions = {{"a", "fake", 1, -1, {0}, {1}, {}, {0}},
                  {"b", "fake", 1, -1, {0}, {2}, {}, {1}},
                  {"join", "fake", 1, -1, {1, 2}, {3}, {}, {0}}};
  return plan;
}

Plan Pipeline() {
  Plan plan = Chain(2, 1);
  plan.lanes = LanesNamed({"first", "second"});
  plan.regions[1].lanes = {1};
  return plan;
}

Plan Copies() {
  Plan plan = Chain(1, 1);
  plan.lanes = LanesNamed({"first", "second"});
  plan.regions[0].lanes = {0, 1};
  return plan;
}

}  // namespace tdse
