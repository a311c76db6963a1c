#include "evaluator.h"

#include <algorithm>
#include <utility>

namespace tdse::evaluate {
namespace {

double Excess(double amount, double limit) { return std::max(0.0, amount - limit); }

}  // namespace

Evaluator::Evaluator(const ProblemArrays& arrays)
    : problem_(arrays),
      placed_(problem_),
      run_(problem_),
      slots_(problem_.n_devices),
      factor_(problem_.n_devices, 1.0),
      load_us_(static_cast<size_t>(problem_.n_devices) * problem_.n_models) {}

int32_t Evaluator::n_figures() const { return kFigures + kRules + problem_.n_models; }

void Evaluator::Evaluate(const Genes& genes, double* figures, double* peak_bytes) {
  const bool counts_memory = problem_.has_memory_limit || peak_bytes;
  placed_.Place(genes, counts_memory);
  run_.Run(&placed_, genes.strict, counts_memory);
  AddLoads();
  const std::vector<double>& latency_us = run_.latency_us();
  const double makespan_us = *std::max_element(latency_us.begin(), latency_us.end());
  figures[kMakespan] = makespan_us;
  figures[kPeriodLength] = period_us_;
  figures[kActiveEnergy] = active_uj_;
  figures[kTotalEnergy] = active_uj_ + problem_.idle_w * makespan_us;
  figures[kRegionCount] = placed_.n_regions();
  double* const violations = figures + kFigures;
  CountBrokenRules(violations);
  violations[kEnergy] = Excess(figures[kTotalEnergy], problem_.energy_budget_uj);
  std::copy(latency_us.begin(), latency_us.end(), violations + kRules);
  if (peak_bytes) std::copy(run_.peak_bytes().begin(), run_.peak_bytes().end(), peak_bytes);
}

// What one run occupies of each device and bus in a pipeline, and the energy of what runs.
void Evaluator::AddLoads() {
  if (problem_.has_slowdown) CountSlots();
  std::fill(load_us_.begin(), load_us_.end(), 0.0);
  double regions_uj = 0.0;
  for (int32_t index = 0; index < placed_.n_regions(); ++index) {
    const Region& region = placed_.region(index);
    regions_uj += problem_.active_w[region.variant] * (region.end_us - region.start_us);
    load_us_[region.device * problem_.n_models + region.model] +=
        region.work_us * factor_[region.device] / problem_.variant_runs[region.variant];
  }
  active_uj_ = regions_uj + placed_.energy_uj();
  period_us_ = overload_ = 0.0;
  for (const std::vector<double>* by_model : {&std::as_const(load_us_), &run_.bus_load_us()}) {
    for (size_t first = 0; first < by_model->size(); first += problem_.n_models) {
      double load_us = 0.0, utilisation = 0.0;
      for (int32_t model = 0; model < problem_.n_models; ++model) {
        load_us += (*by_model)[first + model];
        utilisation += (*by_model)[first + model] / problem_.period_us[model];
      }
      period_us_ = std::max(period_us_, load_us);
      overload_ += Excess(utilisation, 1.0);
    }
  }
}

// How much longer regions take beside others that always run.
void Evaluator::CountSlots() {
  // No slots: the device is not used.
  std::fill(slots_.begin(), slots_.end(), 0);
  for (int32_t index = 0; index < placed_.n_regions(); ++index) {
    const Region& region = placed_.region(index);
    int32_t& slots = slots_[region.device];
    slots = std::max(slots, problem_.variant_slots[region.variant]);
  }
  for (int32_t device = 0; device < problem_.n_devices; ++device) {
    factor_[device] = 1.0;
    for (int32_t other = 0; other < problem_.n_devices; ++other) {
      const int32_t beside = other == device ? slots_[device] - 1 : slots_[other] > 0;
      factor_[device] += (problem_.slowdown[device * problem_.n_devices + other] - 1.0) * beside;
    }
  }
}

void Evaluator::CountBrokenRules(double* violations) const {
  const Regions& regions = placed_.formed();
  const uint8_t* const variants = placed_.variants();
  std::fill_n(violations, kRules, 0.0);
  violations[kIllegal] = placed_.n_illegal();
  for (size_t i = 0; i < problem_.forbidden_pairs.size(); i += 2) {
    const int32_t one = problem_.forbidden_pairs[i], other = problem_.forbidden_pairs[i + 1];
    violations[kForbiddenPair] +=
        problem_.variant_device[variants[one]] == problem_.variant_device[variants[other]];
  }
  for (int32_t v = 0; problem_.has_single_region && v < problem_.n_variants; ++v) {
    if (!problem_.single_region[v]) continue;
    int32_t count = 0;
    for (int32_t region = 0; region < regions.size(); ++region) {
      count += placed_.region(region).variant == v;
    }
    violations[kSingleRegion] += std::max(count - 1, 0);
  }
  for (int32_t i = 0; problem_.has_prefix && i < problem_.n_links; ++i) {
    const int32_t from = variants[problem_.link_source[i]];
    const int32_t to = variants[problem_.link_target[i]];
    violations[kPrefix] += problem_.prefix[to] && from != to;
  }
  violations[kNoLink] = run_.n_without_link();
  for (int32_t device = 0; problem_.has_capacity && device < problem_.n_devices; ++device) {
    violations[kParameters] += Excess(static_cast<double>(placed_.parameter_bytes(device)),
                                      problem_.parameter_capacity_bytes[device]);
  }
  for (int32_t memory = 0; problem_.has_memory_limit && memory < problem_.n_memories; ++memory) {
    violations[kMemory] +=
        Excess(static_cast<double>(run_.peak_bytes()[memory]), problem_.memory_bytes[memory]);
  }
  for (int32_t model = 0; model < problem_.n_models; ++model) {
    violations[kDeadline] += Excess(run_.latency_us()[model], problem_.deadline_us[model]);
  }
  violations[kPeriod] = overload_;
}

}  // namespace tdse::evaluate
