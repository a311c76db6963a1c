#include "plans.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tdse {
namespace {

class Writer {
 public:
  template <typename T>
  void Number(T value) {
    const size_t position = bytes_.size();
    bytes_.resize(position + sizeof(T));
    std::memcpy(bytes_.data() + position, &value, sizeof(T));
  }

  void Bytes(const void* data, size_t size) {
    const auto* first = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), first, first + size);
  }

  void String(const std::string& text) {
    Count(text.size());
    Bytes(text.data(), text.size());
  }

  void Ids(const std::vector<TensorId>& ids) {
    Count(ids.size());
    for (TensorId id : ids) Number(id);
  }

  void Count(size_t count) { Number(static_cast<uint32_t>(count)); }
  void Align() { bytes_.resize((bytes_.size() + kBlobAlignment - 1) / kBlobAlignment * 64); }

  std::vector<uint8_t> Take() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

void WriteTensor(const PlanTensor& tensor, Writer* writer) {
  writer->String(tensor.name);
  writer->Number(tensor.dtype.code);
  writer->Number(tensor.dtype.bits);
  writer->Number(tensor.dtype.lanes);
  writer->Count(tensor.shape.size());
  for (int64_t dim : tensor.shape) writer->Number(dim);
  writer->Number(tensor.constant_blob);
}

void WriteLane(const PlanLane& lane, Writer* writer) {
  writer->String(lane.name);
  writer->Ids(lane.cpus);
  writer->Number(lane.spin_us);
  writer->Number(lane.timeout_ms);
}

void WriteRegion(const PlanRegion& region, Writer* writer) {
  writer->String(region.name);
  writer->String(region.kind);
  writer->Number(region.threads);
  writer->Number(region.blob);
  writer->Ids(region.lanes);
  writer->Ids(region.inputs);
  writer->Ids(region.outputs);
  writer->Count(region.steps.size());
  for (const PlanStep& step : region.steps) {
    writer->String(step.symbol);
    writer->Ids(step.arguments);
    writer->Number(step.iterations);
  }
}

constexpr uint8_t kModel[] = "a model";
constexpr uint8_t kConstant[24] = {1, 2, 3};

Blob ConstantOf(size_t size) { return {kConstant, size}; }

}  // namespace

std::shared_ptr<const Plan> Shared(Plan plan) {
  return std::make_shared<const Plan>(std::move(plan));
}

std::vector<uint8_t> PlanBytes(const Plan& plan) {
  Writer writer;
  writer.Bytes("TDSEPLAN", 8);
  writer.Number(uint32_t{4});
  writer.Count(plan.blobs.size());
  for (const Blob& blob : plan.blobs) writer.Number(uint64_t{blob.size});
  for (const Blob& blob : plan.blobs) {
    writer.Align();
    writer.Bytes(blob.data, blob.size);
  }
  writer.Count(plan.tensors.size());
  for (const PlanTensor& tensor : plan.tensors) WriteTensor(tensor, &writer);
  writer.Ids(plan.inputs);
  writer.Ids(plan.outputs);
  writer.Count(plan.lanes.size());
  for (const PlanLane& lane : plan.lanes) WriteLane(lane, &writer);
  writer.Number(plan.items_per_lane);
  writer.Count(plan.regions.size());
  for (const PlanRegion& region : plan.regions) WriteRegion(region, &writer);
  return writer.Take();
}

PlanTensor Vector(const std::string& name, int64_t elements) {
  return {name, {kDLInt, 8, 1}, {elements}, -1, static_cast<size_t>(elements)};
}

Plan ExamplePlan() {
  Plan plan;
  plan.blobs = {{kModel, 7}, ConstantOf(24)};
  const DLDataType float32 = {kDLFloat, 32, 1};
  plan.tensors = {{"x", {kDLInt, 8, 1}, {1, 6}, -1, 6},
                  {"mid", float32, {2, 3}, -1, 24},
                  {"weights", float32, {2, 3}, 1, 24},
                  {"scratch", float32, {2, 3}, -1, 24},
                  {"y", {kDLBool, 8, 1}, {}, -1, 1}};
  plan.inputs = {0};
  plan.outputs = {4, 1};
  plan.lanes = {{"cpu", {}, 0, 0}};
  plan.regions = {
      {"first", "litert", 2, 0, {0}, {1}, {}},
      {"second", "tvm", 1, -1, {1}, {4}, {{"multiply", {1, 2, 3}, 7}, {"any", {3, 4}, 0}}}};
  return plan;
}

Plan Chain(size_t count, int64_t elements) {
  Plan plan;
  for (TensorId id = 0; id <= count; ++id) {
    plan.tensors.push_back(Vector("t" + std::to_string(id), elements));
  }
  plan.inputs = {0};
  plan.outputs = {static_cast<TensorId>(count)};
  plan.lanes = {{"cpu", {}, 0, 0}};
  for (TensorId id = 0; id < count; ++id) {
    plan.regions.push_back({"r" + std::to_string(id), "fake", 1, -1, {id}, {id + 1}, {}});
  }
  return plan;
}

Plan RandomPlan(std::mt19937* random, size_t max_lanes) {
  const auto below = [random](size_t limit) { return static_cast<size_t>((*random)() % limit); };
  Plan plan;
  const auto add_tensor = [&] {
    const auto id = static_cast<TensorId>(plan.tensors.size());
    plan.tensors.push_back(Vector("t" + std::to_string(id), static_cast<int64_t>(below(200))));
    return id;
  };
  std::vector<TensorId> readable;
  const auto choose = [&](const std::vector<TensorId>& from, size_t most) {
    std::vector<TensorId> chosen;
    for (size_t i = below(most + 1); i > 0; --i) chosen.push_back(from[below(from.size())]);
    return chosen;
  };

  for (size_t i = 1 + below(3); i > 0; --i) plan.inputs.push_back(add_tensor());
  readable = plan.inputs;
  plan.blobs = {ConstantOf(16)};
  plan.tensors.push_back(Vector("constant", 16));
  plan.tensors.back().constant_blob = 0;
  readable.push_back(static_cast<TensorId>(plan.tensors.size() - 1));

  for (size_t lane = 0; lane <= below(max_lanes); ++lane) {
    plan.lanes.push_back({"lane" + std::to_string(lane), {}, 0, 0});
  }
  for (size_t r = 1 + below(10); r > 0; --r) {
    PlanRegion region{"r" + std::to_string(plan.regions.size()), "fake", 1, -1, {}, {}, {}};
    region.lanes.clear();
    for (LaneId lane = 0; lane < plan.lanes.size(); ++lane) region.lanes.push_back(lane);
    std::shuffle(region.lanes.begin(), region.lanes.end(), *random);
    // Mostly one lane: a copy on each of several is the exception.
    region.lanes.resize(below(4) == 0 ? 1 + below(region.lanes.size()) : 1);
    region.inputs = choose(readable, 3);
    for (size_t i = 1 + below(3); i > 0; --i) region.outputs.push_back(add_tensor());
    if (below(2) == 0) {
      std::vector<TensorId> written(below(4));
      for (TensorId& local : written) local = add_tensor();
      written.insert(written.end(), region.outputs.begin(), region.outputs.end());
      std::vector<TensorId> local_values = region.inputs;
      for (TensorId id : written) {
        PlanStep step{"kernel", {}, static_cast<uint32_t>(below(3))};
        if (!local_values.empty()) step.arguments = choose(local_values, 3);
        step.arguments.push_back(id);
        region.steps.push_back(step);
        local_values.push_back(id);
      }
    }
    readable.insert(readable.end(), region.outputs.begin(), region.outputs.end());
    plan.regions.push_back(region);
  }
  plan.outputs = choose(readable, 3);
  return plan;
}

std::vector<std::vector<bool>> RegionsBefore(const Plan& plan) {
  const size_t count = plan.regions.size();
  std::vector<std::vector<bool>> before(count, std::vector<bool>(count, false));
  for (size_t b = 0; b < count; ++b) {
    for (size_t a = 0; a < b; ++a) {
      before[a][b] = plan.regions[a].lanes == plan.regions[b].lanes;
      for (const TensorId id : plan.regions[a].outputs) {
        const std::vector<TensorId>& inputs = plan.regions[b].inputs;
        before[a][b] = before[a][b] || std::count(inputs.begin(), inputs.end(), id) > 0;
      }
    }
  }
  for (size_t via = 0; via < count; ++via) {
    for (size_t a = 0; a < count; ++a) {
      for (size_t b = 0; b < count; ++b) {
        before[a][b] = before[a][b] || (before[a][via] && before[via][b]);
      }
    }
  }
  return before;
}

}  // namespace tdse
