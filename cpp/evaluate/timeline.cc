#include "timeline.h"

#include <algorithm>
#include <cmath>

namespace tdse::evaluate {

Timeline::Timeline(const Problem& problem)
    : problem_(problem),
      devices_(problem.n_devices),
      ready_(problem.n_devices, Heap(problem.n_ops)),
      released_(problem.n_ops),
      live_bytes_(problem.n_memories),
      peak_bytes_(problem.n_memories),
      bus_free_us_(problem.n_buses),
      bus_load_us_(static_cast<size_t>(problem.n_buses) * problem.n_models),
      latency_us_(problem.n_models) {
  touched_.reserve(problem.n_devices);
  running_.reserve(problem.n_ops);
  finished_.reserve(problem.n_ops);
  transfers_.reserve(static_cast<size_t>(problem.n_values) * problem.n_memories);
}

void Timeline::Run(Placed* placed, bool strict) {
  placed_ = placed;
  strict_ = strict;
  Begin();
  double now_us = 0.0;
  while (true) {
    while (!released_.empty() && released_.top().key <= now_us) {
      const int32_t index = released_.top().region;
      released_.Pop();
      MakeReady(placed_->region(index), index);
    }
    for (const int32_t device : touched_) StartOn(device, now_us);
    touched_.clear();
    if (problem_.has_slowdown) Rate(now_us);
    if (running_.empty() && released_.empty()) return;
    now_us = NextTime();
    CompleteAll(now_us);
  }
}

// The inputs are there, and what needs no others is ready.
void Timeline::Begin() {
  transfers_.clear();
  touched_.clear();
  n_without_link_ = 0;
  std::fill(live_bytes_.begin(), live_bytes_.end(), 0);
  std::fill(bus_free_us_.begin(), bus_free_us_.end(), 0.0);
  std::fill(bus_load_us_.begin(), bus_load_us_.end(), 0.0);
  std::fill(latency_us_.begin(), latency_us_.end(), 0.0);
  for (int32_t device = 0; device < problem_.n_devices; ++device) {
    devices_[device] = {problem_.device_cores[device], 0, 0, false};
    live_bytes_[problem_.device_memory[device]] += placed_->parameter_bytes(device);
  }
  std::copy(live_bytes_.begin(), live_bytes_.end(), peak_bytes_.begin());
  for (int32_t value = 0; value < problem_.n_inputs; ++value) {
    Take(problem_.host_memory, problem_.value_bytes[value]);
  }
  for (int32_t index = 0; index < placed_->n_regions(); ++index) {
    if (!placed_->region(index).waiting) MakeReady(placed_->region(index), index);
  }
  for (int32_t value = 0; value < problem_.n_inputs; ++value) {
    HandOver(&placed_->leaving(value), 0.0);
  }
}

void Timeline::MakeReady(const Region& region, int32_t index) {
  ready_[region.device].Push(region.key, index);
  Touch(region.device);
}

void Timeline::Touch(int32_t device) {
  if (devices_[device].is_touched) return;
  devices_[device].is_touched = true;
  touched_.push_back(device);
}

void Timeline::StartOn(int32_t index, double now_us) {
  Heap& ready = ready_[index];
  Device& device = devices_[index];
  device.is_touched = false;
  while (!ready.empty()) {
    const int32_t next = ready.top().region;
    Region& region = placed_->region(next);
    const int32_t cores = problem_.variant_cores[region.variant];
    if (cores > device.free_cores) return;
    if (strict_ && region.position != device.n_started) return;
    ready.Pop();
    ++device.n_started;
    ++device.n_running;
    device.free_cores -= cores;
    region.start_us = now_us;
    region.end_us = now_us + region.work_us;
    region.slower = 1.0;
    running_.push_back({region.end_us, next});
    Take(region.memory, region.leaving_bytes + region.inner_bytes);
  }
}

// Moves the ends of running regions that are slowed down otherwise than before.
void Timeline::Rate(double now_us) {
  for (Running& running : running_) {
    Region& region = placed_->region(running.region);
    const double* const slowdown = &problem_.slowdown[region.device * problem_.n_devices];
    double factor = 1.0;
    for (int32_t other = 0; other < problem_.n_devices; ++other) {
      factor += (slowdown[other] - 1.0) * (devices_[other].n_running - (other == region.device));
    }
    if (factor == region.slower) continue;
    const double left_us = (region.end_us - now_us) / region.slower;
    running.end_us = region.end_us = now_us + left_us * factor;
    region.slower = factor;
  }
}

// When the next region ends or gets the last tensor that it waits for.
double Timeline::NextTime() {
  double next_us = released_.empty() ? INFINITY : released_.top().key;
  for (const Running& running : running_) next_us = std::min(next_us, running.end_us);
  return next_us;
}

void Timeline::CompleteAll(double now_us) {
  finished_.clear();
  for (size_t i = 0; i < running_.size();) {
    if (running_[i].end_us == now_us) {
      finished_.push_back(running_[i].region);
      running_[i] = running_.back();
      running_.pop_back();
    } else {
      ++i;
    }
  }
  if (finished_.size() > 1) std::sort(finished_.begin(), finished_.end());
  for (const int32_t index : finished_) Complete(&placed_->region(index), now_us);
}

void Timeline::Complete(Region* region, double now_us) {
  Device& device = devices_[region->device];
  device.free_cores += problem_.variant_cores[region->variant];
  --device.n_running;
  Touch(region->device);
  double& latency_us = latency_us_[region->model];
  latency_us = std::max(latency_us, now_us);
  for (int32_t made = region->first_made; made >= 0;) {
    Leaving& leaving = placed_->leaving(made);
    HandOver(&leaving, now_us);
    if (leaving.is_output) {
      const double there_us = Carry(leaving, problem_.host_memory, region->model, now_us);
      latency_us = std::max(latency_us, there_us);
    }
    made = leaving.next_made;
  }
  live_bytes_[region->memory] -= region->inner_bytes;
  for (int32_t r = region->first_reading; r >= 0;) {
    const Reading& reading = placed_->reading(r);
    Release(reading, region->memory);
    r = reading.next;
  }
}

// Gives a value that was just made to all that read it.
void Timeline::HandOver(Leaving* leaving, double now_us) {
  placed_->copy(*leaving, leaving->memory).there_us = now_us;
  for (int32_t r = leaving->reading_begin; r < leaving->reading_end; ++r) {
    const int32_t index = placed_->reading(r).region;
    Region& region = placed_->region(index);
    const double there_us = Carry(*leaving, region.memory, region.model, now_us);
    region.arrival_us = std::max(region.arrival_us, there_us);
    if (--region.waiting) continue;
    if (region.arrival_us <= now_us) {
      MakeReady(region, index);
    } else {
      released_.Push(region.arrival_us, index);
    }
  }
}

// When a value is in a memory, to which it is carried if it was not before.
double Timeline::Carry(const Leaving& leaving, int32_t target, int32_t model, double now_us) {
  double& there_us = placed_->copy(leaving, target).there_us;
  if (there_us >= 0.0) return there_us;
  const Way& way = problem_.ways[leaving.memory * problem_.n_memories + target];
  const double carry_us = way.time.Of(static_cast<double>(leaving.size_bytes));
  double start_us = now_us;
  n_without_link_ += way.is_missing;
  if (way.bus >= 0) {
    start_us = std::max(now_us, bus_free_us_[way.bus]);
    bus_free_us_[way.bus] = start_us + carry_us;
    bus_load_us_[way.bus * problem_.n_models + model] += carry_us;
  }
  there_us = start_us + carry_us;
  transfers_.push_back({leaving.value, leaving.memory, target, start_us, there_us});
  Take(target, leaving.size_bytes);
  return there_us;
}

// One of a value's readers in a memory is done.
void Timeline::Release(const Reading& reading, int32_t memory) {
  Leaving& leaving = placed_->leaving(reading.leaving);
  if (!--placed_->copy(leaving, memory).n_left) live_bytes_[memory] -= leaving.size_bytes;
  if (!--leaving.n_left) live_bytes_[leaving.memory] -= leaving.size_bytes;
}

void Timeline::Take(int32_t memory, int64_t size_bytes) {
  live_bytes_[memory] += size_bytes;
  peak_bytes_[memory] = std::max(peak_bytes_[memory], live_bytes_[memory]);
}

}  // namespace tdse::evaluate
