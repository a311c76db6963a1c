// The plan of an executor: tensors, constants and regions, read from the bytes that Python wrote.
//
// The layout is documented in python/tdse/runtime/plan.py. All numbers are little endian; sizes are
// in bytes.
#ifndef TDSE_EXECUTOR_PLAN_H_
#define TDSE_EXECUTOR_PLAN_H_

#include <dlpack/dlpack.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tdse {

using TensorId = uint32_t;
using LaneId = uint32_t;

// Bytes inside the plan, at a multiple of 64 from its start.
struct Blob {
  const uint8_t* data = nullptr;
  size_t size = 0;
};

struct PlanTensor {
  std::string name;
  DLDataType dtype{};
  std::vector<int64_t> shape;
  int32_t constant_blob = -1;  // -1: not a constant
  size_t size_bytes = 0;

  bool is_constant() const { return constant_blob >= 0; }
};

// One call of a compiled kernel: inputs, constants and intermediates first, outputs last.
struct PlanStep {
  std::string symbol;
  std::vector<TensorId> arguments;
  // Of the kernel's outermost loop. The kernel takes two more arguments, the first iteration of a
  // call and the one after its last, so that threads can divide the work. 0: it takes none.
  uint32_t iterations = 0;
};

struct PlanRegion {
  std::string name;
  std::string kind;
  uint32_t threads = 1;
  int32_t blob = -1;  // -1: none
  std::vector<TensorId> inputs;
  std::vector<TensorId> outputs;
  std::vector<PlanStep> steps;
  // Each has a copy of the region; whichever is free first takes an item.
  std::vector<LaneId> lanes = {0};

  // Where its steps run, as the kind says: "opencl" is the first device of OpenCL, "opencl:1" the
  // second, "cuda" the first of CUDA; any other kind runs on the host.
  DLDevice device() const;
};

// A thread that runs regions one after the other.
struct PlanLane {
  std::string name;
  std::vector<uint32_t> cpus;  // that the thread is pinned to; empty: any
  uint32_t spin_us = 0;        // how long it looks for work before it sleeps
  uint32_t timeout_ms = 0;     // after which a region counts as hung; 0: never

  // Whether a thread that calls the executor can stand in for the lane's own.
  bool IsPlain() const { return cpus.empty() && timeout_ms == 0; }
};

// Blobs point into the bytes the plan was parsed from, which must outlive it.
struct Plan {
  std::vector<Blob> blobs;
  std::vector<PlanTensor> tensors;
  std::vector<TensorId> inputs;
  std::vector<TensorId> outputs;
  std::vector<PlanLane> lanes;
  // How many items may be in flight for each lane: one that it works on, and those that wait.
  uint32_t items_per_lane = 2;
  std::vector<PlanRegion> regions;

  // One lane needs no thread: the caller's runs the regions, and nobody has to be woken.
  bool RunsOnCaller() const { return lanes.empty() || (lanes.size() == 1 && lanes[0].IsPlain()); }

  // How many items may be in flight.
  size_t MaxItems() const { return RunsOnCaller() ? 1 : items_per_lane * lanes.size(); }
};

// Blobs start at multiples of this, so that they can be used in place.
constexpr size_t kBlobAlignment = 64;

// Parses and checks a plan: every index is in range, every tensor is written once and before it is
// read. Throws std::runtime_error for anything else; never reads outside [data, data + size).
Plan ParsePlan(const uint8_t* data, size_t size);

// "float32", "int8", "bool": numpy's name of the type.
std::string TypeName(DLDataType dtype);

}  // namespace tdse

#endif  // TDSE_EXECUTOR_PLAN_H_
