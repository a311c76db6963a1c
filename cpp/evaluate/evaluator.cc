#include "evaluator.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace tdse::evaluate {
namespace {

// Models are given their inputs by, and give their outputs to, the first device.
constexpr int32_t kHost = 0;

using Heap = Evaluator::Heap;

// Most heaps hold one region.
void Push(Heap* heap, Heap::value_type entry) {
  heap->push_back(entry);
  if (heap->size() > 1) std::push_heap(heap->begin(), heap->end(), std::greater<>());
}

void Pop(Heap* heap) {
  if (heap->size() > 1) std::pop_heap(heap->begin(), heap->end(), std::greater<>());
  heap->pop_back();
}

double Excess(double amount, double limit) { return std::max(0.0, amount - limit); }

}  // namespace

Evaluator::Evaluator(const ProblemArrays& arrays) : problem_(arrays), regions_(problem_) {
  const size_t ops = problem_.n_ops, values = problem_.n_values;
  const size_t copies = values * problem_.n_memories;
  for (auto* by_region : {&variant_, &device_, &memory_, &model_, &first_made_, &last_made_,
                          &first_read_, &waiting_, &seen_, &position_}) {
    by_region->resize(ops);
  }
  for (auto* by_region : {&leaving_bytes_, &inner_bytes_}) by_region->resize(ops);
  for (auto* by_region :
       {&work_us_, &tail_us_, &key_, &arrival_us_, &start_us_, &end_us_, &slower_}) {
    by_region->resize(ops);
  }
  next_made_.resize(values);
  reader_begin_.resize(values + 1);
  readers_left_.resize(values);
  is_inner_.resize(values);
  copy_us_.resize(copies);
  copy_readers_.resize(copies);
  readers_.resize(problem_.consumers.size());
  ready_.resize(problem_.n_devices);
  for (Heap& heap : ready_) heap.reserve(ops);
  for (auto* by_device : {&free_cores_, &n_started_, &n_running_, &slots_}) {
    by_device->resize(problem_.n_devices);
  }
  device_parameters_.resize(problem_.n_devices);
  load_us_.resize(problem_.n_devices + problem_.n_buses);
  utilisation_.resize(problem_.n_devices + problem_.n_buses);
  live_bytes_.resize(problem_.n_memories);
  peak_bytes_.resize(problem_.n_memories);
  bus_free_us_.resize(problem_.n_buses);
  latency_us_.resize(problem_.n_models);
  released_.reserve(ops);
  running_.reserve(ops);
  finished_.reserve(ops);
  transfers_.reserve(copies);
}

int32_t Evaluator::n_figures() const {
  return kFigures + kRules + problem_.n_models + problem_.n_memories;
}

void Evaluator::Evaluate(const Genes& genes, double* figures) {
  Place(genes);
  Run();
  Load();
  const int32_t n_regions = regions_.size();
  double active_uj = 0.0;
  for (int32_t region = 0; region < n_regions; ++region) {
    active_uj += problem_.active_w[variant_[region]] * (end_us_[region] - start_us_[region]);
  }
  for (int32_t op = 0; problem_.has_energy && op < problem_.n_ops; ++op) {
    active_uj += problem_.energy_uj[op * problem_.n_variants + variants_[op]];
  }
  const double makespan_us = *std::max_element(latency_us_.begin(), latency_us_.end());
  double period_us = 0.0;
  for (const double load_us : load_us_) period_us = std::max(period_us, load_us);
  figures[kMakespan] = makespan_us;
  figures[kPeriodLength] = period_us;
  figures[kActiveEnergy] = active_uj;
  figures[kTotalEnergy] = active_uj + problem_.idle_w * makespan_us;
  figures[kRegionCount] = n_regions;
  double* const violations = figures + kFigures;
  CountBrokenRules(violations);
  violations[kEnergy] = Excess(figures[kTotalEnergy], problem_.energy_budget_uj);
  double* const latencies = violations + kRules;
  std::copy(latency_us_.begin(), latency_us_.end(), latencies);
  std::copy(peak_bytes_.begin(), peak_bytes_.end(), latencies + problem_.n_models);
}

void Evaluator::Place(const Genes& genes) {
  variants_ = genes.variants;
  strict_ = genes.strict;
  regions_.Form(genes.variants, genes.cuts);
  const int32_t n_regions = regions_.size();
  for (int32_t region = 0; region < n_regions; ++region) {
    const int32_t op = *regions_.begin(region), variant = variants_[op];
    variant_[region] = variant;
    device_[region] = problem_.variant_device[variant];
    memory_[region] = problem_.variant_memory[variant];
    model_[region] = problem_.model_of[op];
    first_made_[region] = first_read_[region] = seen_[region] = -1;
    waiting_[region] = 0;
    leaving_bytes_[region] = inner_bytes_[region] = 0;
    arrival_us_[region] = 0.0;
  }
  AddWork();
  CountInnerBytes();
  SetKeys(genes);
}

void Evaluator::AddWork() {
  n_illegal_ = 0;
  for (int32_t region = 0; region < regions_.size(); ++region) {
    const int32_t variant = variant_[region];
    double work_us = problem_.launch_us[variant];
    for (const int32_t* op = regions_.begin(region); op != regions_.end(region); ++op) {
      const int32_t choice = *op * problem_.n_variants + variant;
      work_us += problem_.cost_us[choice];
      n_illegal_ += !problem_.allowed[choice];
    }
    work_us_[region] = work_us;
  }
  reader_begin_[0] = 0;
  for (int32_t value = 0; value < problem_.n_inputs; ++value) AddReaders(value, -1);
  for (int32_t value = problem_.n_inputs; value < problem_.n_values; ++value) {
    const int32_t home = regions_.of(problem_.value_producer[value]);
    AddReaders(value, home);
    const bool is_output = problem_.value_is_output[value];
    const bool is_inner = !is_output && reader_begin_[value + 1] == reader_begin_[value];
    is_inner_[value] = -static_cast<int64_t>(is_inner);
    if (is_inner) continue;
    const int64_t size_bytes = problem_.value_bytes[value];
    if (is_output) {
      const int32_t from = variant_[home];
      work_us_[home] += problem_.host_border_us[from] +
                        problem_.host_copy_us_per_byte[from] * static_cast<double>(size_bytes);
    }
    leaving_bytes_[home] += size_bytes;
    next_made_[value] = -1;
    if (first_made_[home] < 0) {
      first_made_[home] = value;
    } else {
      next_made_[last_made_[home]] = value;
    }
    last_made_[home] = value;
  }
}

// Lists the readers of a value outside the region `home`, and adds what it costs them to read it.
void Evaluator::AddReaders(int32_t value, int32_t home) {
  const int32_t* const consumers = problem_.consumers.data();
  const int32_t first = problem_.consumer_begin[value], end = problem_.consumer_begin[value + 1];
  int32_t n_readers = reader_begin_[value];
  for (int32_t i = first; i < end; ++i) {
    const int32_t region = regions_.of(consumers[i]);
    if (region == home) continue;
    readers_[n_readers++] = {value, region, first_read_[region]};
    first_read_[region] = n_readers - 1;
    ++waiting_[region];
    if (seen_[region] == value) continue;
    seen_[region] = value;
    const double size_bytes = static_cast<double>(problem_.value_bytes[value]);
    const int32_t into = variant_[region];
    if (home < 0) {
      work_us_[region] +=
          problem_.host_border_us[into] + problem_.host_copy_us_per_byte[into] * size_bytes;
    } else {
      const int32_t pair = variant_[home] * problem_.n_variants + into;
      work_us_[region] += problem_.border_us[pair] + problem_.copy_us_per_byte[pair] * size_bytes;
    }
  }
  const int32_t begin = reader_begin_[value];
  reader_begin_[value + 1] = n_readers;
  readers_left_[value] = n_readers - begin;
  if (problem_.n_memories == 1 || (n_readers == begin && !problem_.value_is_output[value])) return;
  const int32_t copies = value * problem_.n_memories;
  for (int32_t memory = 0; memory < problem_.n_memories; ++memory) {
    copy_us_[copies + memory] = -1.0;
    copy_readers_[copies + memory] = 0;
  }
  for (int32_t i = begin; i < n_readers; ++i) {
    ++copy_readers_[copies + memory_[readers_[i].region]];
  }
}

void Evaluator::CountInnerBytes() {
  for (int32_t region = 0; region < regions_.size(); ++region) {
    const int32_t* const end = regions_.end(region);
    const int32_t* op = regions_.begin(region);
    // A single operator has no inner tensors.
    if (end - op == 1) continue;
    int64_t live_bytes = 0, most_bytes = 0;
    for (; op != end; ++op) {
      for (int32_t i = problem_.inner_begin[*op]; i < problem_.inner_begin[*op + 1]; ++i) {
        const InnerBytes& bytes = problem_.inner_bytes[i];
        live_bytes += bytes.change & is_inner_[bytes.value];
        most_bytes = std::max(most_bytes, live_bytes);
      }
    }
    inner_bytes_[region] = most_bytes;
  }
}

// What each device starts its regions by: the least key first.
void Evaluator::SetKeys(const Genes& genes) {
  SetTails();
  for (int32_t region = 0; region < regions_.size(); ++region) {
    double priority_us = tail_us_[region];
    if (genes.priority) {
      for (const int32_t* op = regions_.begin(region); op != regions_.end(region); ++op) {
        priority_us += genes.priority[*op];
      }
    }
    key_[region] = -priority_us;
  }
  if (genes.strict) SetListOrder();
}

// The longest way from each region's start to the end of the run, if nothing were shared.
void Evaluator::SetTails() {
  for (int32_t i = regions_.size() - 1; i >= 0; --i) {
    const int32_t region = regions_.order()[i], memory = memory_[region];
    double longest_us = 0.0;
    for (int32_t value = first_made_[region]; value >= 0; value = next_made_[value]) {
      for (int32_t r = reader_begin_[value]; r < reader_begin_[value + 1]; ++r) {
        const int32_t reader = readers_[r].region;
        const double carry_us = CarryTime(value, memory, memory_[reader]);
        longest_us = std::max(longest_us, std::max(carry_us, 0.0) + tail_us_[reader]);
      }
      if (problem_.value_is_output[value]) {
        const int32_t host = problem_.device_memory[kHost];
        longest_us = std::max(longest_us, CarryTime(value, memory, host));
      }
    }
    tail_us_[region] = work_us_[region] + longest_us;
  }
}

// Makes the keys positions in one list, in which each region is after those that it reads from.
void Evaluator::SetListOrder() {
  const int32_t n_regions = regions_.size();
  // `position_` counts readers at first: inputs hold nobody up.
  std::copy_n(waiting_.begin(), n_regions, position_.begin());
  for (int32_t r = 0; r < reader_begin_[problem_.n_inputs]; ++r) --position_[readers_[r].region];
  released_.clear();
  for (int32_t region = 0; region < n_regions; ++region) {
    if (!position_[region]) Push(&released_, {key_[region], region});
  }
  std::fill(n_started_.begin(), n_started_.end(), 0);
  for (int32_t listed = 0; listed < n_regions; ++listed) {
    const int32_t region = released_.front().second;
    Pop(&released_);
    for (int32_t value = first_made_[region]; value >= 0; value = next_made_[value]) {
      for (int32_t r = reader_begin_[value]; r < reader_begin_[value + 1]; ++r) {
        const int32_t reader = readers_[r].region;
        if (!--position_[reader]) Push(&released_, {key_[reader], reader});
      }
    }
    key_[region] = listed;
    position_[region] = n_started_[device_[region]]++;
  }
}

void Evaluator::Run() {
  transfers_.clear();
  released_.clear();
  running_.clear();
  n_without_link_ = 0;
  std::copy(problem_.device_cores.begin(), problem_.device_cores.end(), free_cores_.begin());
  std::fill(n_started_.begin(), n_started_.end(), 0);
  std::fill(n_running_.begin(), n_running_.end(), 0);
  std::fill(load_us_.begin(), load_us_.end(), 0.0);
  std::fill(utilisation_.begin(), utilisation_.end(), 0.0);
  std::fill(live_bytes_.begin(), live_bytes_.end(), 0);
  std::fill(device_parameters_.begin(), device_parameters_.end(), 0);
  std::fill(bus_free_us_.begin(), bus_free_us_.end(), 0.0);
  std::fill(latency_us_.begin(), latency_us_.end(), 0.0);
  for (int32_t op = 0; problem_.has_parameters && op < problem_.n_ops; ++op) {
    device_parameters_[problem_.variant_device[variants_[op]]] += problem_.parameter_bytes[op];
  }
  for (int32_t device = 0; device < problem_.n_devices; ++device) {
    live_bytes_[problem_.device_memory[device]] += device_parameters_[device];
  }
  std::copy(live_bytes_.begin(), live_bytes_.end(), peak_bytes_.begin());
  for (int32_t value = 0; value < problem_.n_inputs; ++value) {
    Take(problem_.device_memory[kHost], problem_.value_bytes[value]);
  }
  for (int32_t region = 0; region < regions_.size(); ++region) {
    if (!waiting_[region]) Push(&ready_[device_[region]], {key_[region], region});
  }
  for (int32_t value = 0; value < problem_.n_inputs; ++value) {
    HandOver(value, problem_.device_memory[kHost], 0.0);
  }

  double now_us = 0.0;
  while (true) {
    while (!released_.empty() && released_.front().first <= now_us) {
      const int32_t region = released_.front().second;
      Pop(&released_);
      Push(&ready_[device_[region]], {key_[region], region});
    }
    for (int32_t device = 0; device < problem_.n_devices; ++device) {
      if (!ready_[device].empty()) StartOn(device, now_us);
    }
    if (problem_.has_slowdown) Rate(now_us);
    if (running_.empty() && released_.empty()) return;
    double next_us = released_.empty() ? INFINITY : released_.front().first;
    for (const int32_t region : running_) next_us = std::min(next_us, end_us_[region]);
    now_us = next_us;
    finished_.clear();
    for (size_t i = 0; i < running_.size();) {
      if (end_us_[running_[i]] == now_us) {
        finished_.push_back(running_[i]);
        running_[i] = running_.back();
        running_.pop_back();
      } else {
        ++i;
      }
    }
    if (finished_.size() > 1) std::sort(finished_.begin(), finished_.end());
    for (const int32_t region : finished_) Complete(region, now_us);
  }
}

void Evaluator::StartOn(int32_t device, double now_us) {
  Heap& ready = ready_[device];
  while (!ready.empty()) {
    const int32_t region = ready.front().second;
    const int32_t cores = problem_.variant_cores[variant_[region]];
    if (strict_ && position_[region] != n_started_[device]) return;
    if (cores > free_cores_[device]) return;
    Pop(&ready);
    ++n_started_[device];
    ++n_running_[device];
    free_cores_[device] -= cores;
    start_us_[region] = now_us;
    end_us_[region] = now_us + work_us_[region];
    slower_[region] = 1.0;
    running_.push_back(region);
    Take(memory_[region], leaving_bytes_[region] + inner_bytes_[region]);
  }
}

// Moves the ends of running regions that are slowed down otherwise than before.
void Evaluator::Rate(double now_us) {
  for (const int32_t region : running_) {
    const int32_t device = device_[region];
    const double* const slowdown = problem_.slowdown.data() + device * problem_.n_devices;
    double factor = 1.0;
    for (int32_t other = 0; other < problem_.n_devices; ++other) {
      factor += (slowdown[other] - 1.0) * (n_running_[other] - (other == device));
    }
    if (factor == slower_[region]) continue;
    const double left_us = (end_us_[region] - now_us) / slower_[region];
    end_us_[region] = now_us + left_us * factor;
    slower_[region] = factor;
  }
}

void Evaluator::Complete(int32_t region, double now_us) {
  const int32_t device = device_[region], memory = memory_[region];
  free_cores_[device] += problem_.variant_cores[variant_[region]];
  --n_running_[device];
  double& latency_us = latency_us_[model_[region]];
  latency_us = std::max(latency_us, now_us);
  for (int32_t value = first_made_[region]; value >= 0; value = next_made_[value]) {
    HandOver(value, memory, now_us);
  }
  live_bytes_[memory] -= inner_bytes_[region];
  for (int32_t r = first_read_[region]; r >= 0; r = readers_[r].next) Release(readers_[r], memory);
}

// Gives a value that was just made in the memory `source` to all that read it.
void Evaluator::HandOver(int32_t value, int32_t source, double now_us) {
  for (int32_t r = reader_begin_[value]; r < reader_begin_[value + 1]; ++r) {
    const int32_t region = readers_[r].region;
    const double there_us = Carry(value, source, memory_[region], model_[region], now_us);
    arrival_us_[region] = std::max(arrival_us_[region], there_us);
    if (--waiting_[region]) continue;
    if (arrival_us_[region] <= now_us) {
      Push(&ready_[device_[region]], {key_[region], region});
    } else {
      Push(&released_, {arrival_us_[region], region});
    }
  }
  if (problem_.value_is_output[value]) {
    const int32_t model = problem_.model_of[problem_.value_producer[value]];
    const double there_us = Carry(value, source, problem_.device_memory[kHost], model, now_us);
    latency_us_[model] = std::max(latency_us_[model], there_us);
  }
}

// When a value is in a memory, to which it is carried if it was not before.
double Evaluator::Carry(int32_t value, int32_t source, int32_t target, int32_t model,
                        double now_us) {
  if (source == target) return now_us;
  double& copy_us = copy_us_[value * problem_.n_memories + target];
  if (copy_us >= 0.0) return copy_us;
  double carry_us = CarryTime(value, source, target), start_us = now_us;
  const int32_t bus = problem_.link_bus[source * problem_.n_memories + target];
  if (carry_us < 0.0) {
    ++n_without_link_;
    carry_us = 0.0;
  } else if (bus >= 0) {
    start_us = std::max(now_us, bus_free_us_[bus]);
    bus_free_us_[bus] = start_us + carry_us;
    load_us_[problem_.n_devices + bus] += carry_us;
    utilisation_[problem_.n_devices + bus] += carry_us / problem_.period_us[model];
  }
  copy_us = start_us + carry_us;
  transfers_.push_back({value, source, target, start_us, copy_us});
  Take(target, problem_.value_bytes[value]);
  return copy_us;
}

// One of a value's readers in a memory is done.
void Evaluator::Release(const Reader& reader, int32_t memory) {
  const int32_t value = reader.value, home = HomeMemory(value);
  const bool is_output = problem_.value_is_output[value];
  if (memory != home) {
    const bool kept = is_output && memory == problem_.device_memory[kHost];
    if (!--copy_readers_[value * problem_.n_memories + memory] && !kept) {
      live_bytes_[memory] -= problem_.value_bytes[value];
    }
  }
  if (!--readers_left_[value] && !is_output) live_bytes_[home] -= problem_.value_bytes[value];
}

void Evaluator::Take(int32_t memory, int64_t size_bytes) {
  live_bytes_[memory] += size_bytes;
  peak_bytes_[memory] = std::max(peak_bytes_[memory], live_bytes_[memory]);
}

// Microseconds of a transfer, 0 if it stays where it is, negative if there is no way.
double Evaluator::CarryTime(int32_t value, int32_t source, int32_t target) const {
  if (source == target) return 0.0;
  const int32_t link = source * problem_.n_memories + target;
  const double us_per_byte = problem_.link_us_per_byte[link];
  if (std::isinf(us_per_byte)) return -1.0;
  return problem_.link_latency_us[link] +
         us_per_byte * static_cast<double>(problem_.value_bytes[value]);
}

// The memory in which a value is made, the host's for an input.
int32_t Evaluator::HomeMemory(int32_t value) const {
  if (value < problem_.n_inputs) return problem_.device_memory[kHost];
  return problem_.variant_memory[variants_[problem_.value_producer[value]]];
}

// What one run occupies of each device in a pipeline; the buses' share was added on the way.
void Evaluator::Load() {
  const int32_t n_regions = regions_.size(), n_devices = problem_.n_devices;
  // No slots: the device is not used.
  std::fill(slots_.begin(), slots_.end(), 0);
  for (int32_t region = 0; region < n_regions; ++region) {
    int32_t& slots = slots_[device_[region]];
    slots = std::max(slots, problem_.variant_slots[variant_[region]]);
  }
  for (int32_t region = 0; region < n_regions; ++region) {
    const int32_t device = device_[region], variant = variant_[region];
    double factor = 1.0;
    for (int32_t other = 0; problem_.has_slowdown && other < n_devices; ++other) {
      const int32_t beside = other == device ? slots_[device] - 1 : slots_[other] > 0;
      factor += (problem_.slowdown[device * n_devices + other] - 1.0) * beside;
    }
    const double share_us = work_us_[region] * factor / problem_.variant_runs[variant];
    load_us_[device] += share_us;
    if (problem_.has_period) utilisation_[device] += share_us / problem_.period_us[model_[region]];
  }
}

void Evaluator::CountBrokenRules(double* violations) const {
  std::fill_n(violations, kRules, 0.0);
  violations[kIllegal] = n_illegal_;
  for (size_t i = 0; i < problem_.forbidden_pairs.size(); i += 2) {
    const int32_t one = problem_.forbidden_pairs[i], other = problem_.forbidden_pairs[i + 1];
    violations[kForbiddenPair] += device_[regions_.of(one)] == device_[regions_.of(other)];
  }
  for (int32_t v = 0; problem_.has_single_region && v < problem_.n_variants; ++v) {
    if (!problem_.single_region[v]) continue;
    const auto end = variant_.begin() + regions_.size();
    const auto count = std::count(variant_.begin(), end, v);
    violations[kSingleRegion] += static_cast<double>(std::max<int64_t>(count - 1, 0));
  }
  for (int32_t link = 0; problem_.has_prefix && link < problem_.n_links; ++link) {
    const int32_t from = variants_[problem_.link_source[link]];
    const int32_t to = variants_[problem_.link_target[link]];
    violations[kPrefix] += problem_.prefix[to] && from != to;
  }
  violations[kNoLink] = n_without_link_;
  for (int32_t device = 0; device < problem_.n_devices; ++device) {
    violations[kParameters] += Excess(static_cast<double>(device_parameters_[device]),
                                      problem_.parameter_capacity_bytes[device]);
  }
  for (int32_t memory = 0; memory < problem_.n_memories; ++memory) {
    violations[kMemory] +=
        Excess(static_cast<double>(peak_bytes_[memory]), problem_.memory_bytes[memory]);
  }
  for (int32_t model = 0; model < problem_.n_models; ++model) {
    violations[kDeadline] += Excess(latency_us_[model], problem_.deadline_us[model]);
  }
  for (const double share : utilisation_) violations[kPeriod] += Excess(share, 1.0);
}

}  // namespace tdse::evaluate
