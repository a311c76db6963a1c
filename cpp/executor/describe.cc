#include <cstdio>
#include <string>
#include <vector>

#include "executor.h"

namespace tdse {
namespace {

std::string Quote(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (byte < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(byte));
      json += escape;
    } else {
      json += c;
    }
  }
  return json + "\"";
}

template <typename List, typename ToJson>
std::string Array(const List& values, ToJson to_json) {
  std::string json = "[";
  for (const auto& value : values) {
    if (json.size() > 1) json += ",";
    json += to_json(value);
  }
  return json + "]";
}

template <typename List>
std::string Numbers(const List& values) {
  return Array(values, [](auto value) { return std::to_string(value); });
}

}  // namespace

std::string DescribePlan(const Plan& plan) {
  const auto tensor = [&plan](TensorId id) {
    const PlanTensor& t = plan.tensors[id];
    return "{\"name\":" + Quote(t.name) + ",\"dtype\":" + Quote(TypeName(t.dtype)) +
           ",\"shape\":" + Numbers(t.shape) + "}";
  };
  const auto region = [](const PlanRegion& r) {
    return "{\"name\":" + Quote(r.name) + ",\"kind\":" + Quote(r.kind) +
           ",\"threads\":" + std::to_string(r.threads) + ",\"lanes\":" + Numbers(r.lanes) +
           ",\"inputs\":" + Numbers(r.inputs) + ",\"outputs\":" + Numbers(r.outputs) + "}";
  };
  const auto lane = [](const PlanLane& l) {
    return "{\"name\":" + Quote(l.name) + ",\"cpus\":" + Numbers(l.cpus) +
           ",\"spin_us\":" + std::to_string(l.spin_us) +
           ",\"timeout_ms\":" + std::to_string(l.timeout_ms) + "}";
  };
  return "{\"inputs\":" + Array(plan.inputs, tensor) +
         ",\"outputs\":" + Array(plan.outputs, tensor) + ",\"lanes\":" + Array(plan.lanes, lane) +
         ",\"regions\":" + Array(plan.regions, region) +
         ",\"max_items\":" + std::to_string(plan.MaxItems()) +
         ",\"arena_bytes\":" + std::to_string(PlanBuffers(plan).arena_bytes) + "}";
}

}  // namespace tdse
