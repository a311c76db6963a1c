// The evaluation on small problems whose results are plain, and on random ones under sanitizers.
// That it equals its specification is tested in Python.
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "evaluator.h"
#include "improve.h"
#include "testing.h"

namespace tdse::evaluate {
namespace {

// A problem that owns its arrays: a CPU and a GPU with a memory and a variant each. Operator i
// makes value i, of 100 bytes; what nobody reads is an output.
struct Example {
  int32_t n_ops;
  std::vector<int32_t> links, producers, consumer_begin{0}, consumers;
  std::vector<int64_t> value_bytes, parameter_bytes;
  std::vector<uint8_t> is_output, allowed;
  std::vector<double> cost_us, energy_uj;
  std::vector<double> ones{1, 1}, none{0, 0, 0, 0}, factors{1, 1, 1, 1};
  std::vector<double> unlimited{INFINITY, INFINITY};
  std::vector<double> latency_us{0, 2, 2, 0}, us_per_byte{0, 0.5, 0.5, 0};
  std::vector<int32_t> each{0, 1}, one_each{1, 1}, bus{-1, 0, 0, -1}, model_of;
  std::vector<uint8_t> no_rule{0, 0};
  int32_t n_links = 0;

  // Links ascending; every operator takes 10 us on the CPU and 4 us on the GPU.
  Example(int32_t ops, const std::vector<std::pair<int32_t, int32_t>>& edges) : n_ops(ops) {
    std::vector<std::vector<int32_t>> readers(ops);
    for (const auto& [source, target] : edges) {
      links.insert(links.end(), {source, target});
      readers[source].push_back(target);
    }
    n_links = static_cast<int32_t>(edges.size());
    for (int32_t op = 0; op < ops; ++op) {
      producers.push_back(op);
      value_bytes.push_back(100);
      parameter_bytes.push_back(1000);
      is_output.push_back(readers[op].empty());
      consumers.insert(consumers.end(), readers[op].begin(), readers[op].end());
      consumer_begin.push_back(static_cast<int32_t>(consumers.size()));
      cost_us.insert(cost_us.end(), {10, 4});
      energy_uj.insert(energy_uj.end(), {0, 0});
      allowed.insert(allowed.end(), {1, 1});
      model_of.push_back(0);
    }
  }

  ProblemArrays arrays() const {
    ProblemArrays a{};
    a.n_ops = n_ops;
    a.n_variants = a.n_devices = a.n_memories = 2;
    a.n_buses = a.n_models = 1;
    a.n_links = n_links;
    a.n_values = n_ops;
    a.links = links.data();
    a.value_producer = producers.data();
    a.value_bytes = value_bytes.data();
    a.value_is_output = is_output.data();
    a.consumer_begin = consumer_begin.data();
    a.consumers = consumers.data();
    a.cost_us = cost_us.data();
    a.allowed = allowed.data();
    a.energy_uj = energy_uj.data();
    a.parameter_bytes = parameter_bytes.data();
    a.launch_us = a.active_w = a.idle_w = ones.data();
    a.border_us = a.copy_us_per_byte = none.data();
    a.host_border_us = a.host_copy_us_per_byte = none.data();
    a.variant_device = a.device_memory = each.data();
    a.variant_cores = a.variant_batch = a.device_cores = one_each.data();
    a.single_region = a.prefix = no_rule.data();
    a.parameter_capacity_bytes = a.memory_bytes = unlimited.data();
    a.slowdown = factors.data();
    a.link_latency_us = latency_us.data();
    a.link_us_per_byte = us_per_byte.data();
    a.link_bus = bus.data();
    a.model_of = model_of.data();
    a.deadline_us = a.period_us = unlimited.data();
    a.energy_budget_uj = INFINITY;
    return a;
  }
};

std::vector<double> Figures(Evaluator* evaluator, const std::vector<uint8_t>& variants,
                            const std::vector<uint8_t>& cuts = {}, bool strict = false,
                            const std::vector<double>& priority = {},
                            double* peak_bytes = nullptr) {
  std::vector<double> figures(evaluator->n_figures());
  evaluator->Evaluate({variants.data(), cuts.empty() ? nullptr : cuts.data(),
                       priority.empty() ? nullptr : priority.data(), strict},
                      figures.data(), peak_bytes);
  return figures;
}

TEST(EvaluatesAChainOnTwoDevices) {
  const Example example(3, {{0, 1}, {1, 2}});
  Evaluator evaluator(example.arrays());
  // A region of 11 us, 52 us on the bus, one of 9 us, and 52 us for its output to the host.
  const std::vector<double> figures = Figures(&evaluator, {0, 1, 1});
  CHECK_EQUAL(figures[kMakespan], 11.0 + 52 + 9 + 52);
  CHECK_EQUAL(figures[kPeriodLength], 104.0);
  CHECK_EQUAL(figures[kActiveEnergy], 20.0);
  CHECK_EQUAL(figures[kTotalEnergy], 20.0 + 2 * 124);
  CHECK_EQUAL(figures[kRegionCount], 2.0);
  CHECK_EQUAL(evaluator.n_transfers(), 2);
  CHECK_EQUAL(evaluator.start_us(1), 63.0);
  // All on the CPU is one region, and leaves nothing of the placement before it behind.
  CHECK_EQUAL(Figures(&evaluator, {0, 0, 0})[kMakespan], 31.0);
  CHECK_EQUAL(evaluator.n_transfers(), 0);
  CHECK_EQUAL(Figures(&evaluator, {0, 0, 0}, {1, 0})[kMakespan], 32.0);
  CHECK(Figures(&evaluator, {0, 1, 1}) == figures);
}

TEST(CutsACircleOfRegions) {
  const Example example(4, {{0, 1}, {0, 2}, {1, 2}, {2, 3}});
  Evaluator evaluator(example.arrays());
  Figures(&evaluator, {0, 1, 0, 0});
  const Regions& regions = evaluator.regions();
  CHECK_EQUAL(regions.size(), 3);
  CHECK(regions.of(0) != regions.of(2));
  CHECK_EQUAL(regions.of(2), regions.of(3));
}

TEST(CountsMemoryAndBrokenRules) {
  Example example(3, {{0, 1}, {1, 2}});
  example.allowed[1] = 0;
  example.us_per_byte[1] = INFINITY;
  Evaluator evaluator(example.arrays());
  double peaks[2];
  const std::vector<double> figures = Figures(&evaluator, {1, 0, 1}, {}, false, {}, peaks);
  CHECK_EQUAL(figures[kFigures + kIllegal], 1.0);
  CHECK_EQUAL(figures[kFigures + kNoLink], 1.0);
  CHECK_EQUAL(figures[kFigures + kMemory], 0.0);
  // The CPU has one operator, the copy that it reads and what it makes, or later the output.
  CHECK_EQUAL(peaks[0], 1000.0 + 200);
  CHECK_EQUAL(peaks[1], 2000.0 + 200);
}

TEST(AnswersAreTheSameWhateverCameBefore) {
  std::mt19937 random(7);
  std::vector<std::pair<int32_t, int32_t>> edges;
  constexpr int32_t kOps = 60;
  for (int32_t op = 1; op < kOps; ++op) {
    std::vector<int32_t> sources = {op - 1, static_cast<int32_t>(random() % op)};
    for (const int32_t source : sources) edges.push_back({source, op});
  }
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  Example example(kOps, edges);
  example.factors = {1, 1.5, 1.25, 1};
  Evaluator used(example.arrays());
  for (int round = 0; round < 200; ++round) {
    std::vector<uint8_t> variants(kOps), cuts(edges.size());
    for (uint8_t& variant : variants) variant = random() % 2;
    for (uint8_t& cut : cuts) cut = random() % 3 == 0;
    const bool strict = round % 2 == 1;
    Evaluator fresh(example.arrays());
    CHECK(Figures(&used, variants, cuts, strict) == Figures(&fresh, variants, cuts, strict));
    const double makespan_us = Figures(&used, variants, cuts, strict)[kMakespan];
    for (int32_t region = 0; region < used.regions().size(); ++region) {
      CHECK(used.end_us(region) > used.start_us(region) && used.end_us(region) <= makespan_us);
    }
  }
}

TEST(EvaluatesAProblemWithoutOperators) {
  const Example example(0, {});
  Evaluator evaluator(example.arrays());
  CHECK_EQUAL(Figures(&evaluator, {})[kMakespan], 0.0);
}

struct Genome {
  std::vector<uint8_t> variants, cuts, strict{0};
  std::vector<double> priority;

  explicit Genome(const Example& example)
      : variants(example.n_ops), cuts(example.n_links), priority(example.n_ops) {}
  Placement placement() { return {variants.data(), cuts.data(), priority.data(), strict.data()}; }
};

constexpr double kLatency[kGoalCount] = {1.0, 0.0, 0.0};

TEST(ImprovesAPlacementUntilItFits) {
  std::mt19937 random(7);
  std::vector<std::pair<int32_t, int32_t>> edges;
  constexpr int32_t kOps = 40;
  for (int32_t op = 1; op < kOps; ++op) {
    edges.push_back({static_cast<int32_t>(random() % op), op});
  }
  std::sort(edges.begin(), edges.end());
  Example example(kOps, edges);
  example.latency_us = {0, 0.5, 0.5, 0};
  example.us_per_byte = {0, 0, 0, 0};
  // The GPU, on which all start, holds half of the constants.
  const std::vector<double> capacity = {INFINITY, 1000.0 * kOps / 2};
  ProblemArrays arrays = example.arrays();
  arrays.parameter_capacity_bytes = capacity.data();
  const std::vector<double> penalties(kRules, 1e-3);
  Evaluator evaluator(arrays);
  Improver improver(&evaluator);
  std::vector<std::vector<uint8_t>> found;
  for (const uint64_t seed : {1u, 1u, 2u}) {
    Genome genome(example);
    std::fill(genome.variants.begin(), genome.variants.end(), 1);
    std::vector<double> figures(evaluator.n_figures());
    improver.Improve({kLatency, penalties.data()}, {5000, 0.05, 5e-4, seed}, genome.placement(),
                     figures.data());
    CHECK_EQUAL(figures[kFigures + kParameters], 0.0);
    CHECK_EQUAL(figures[kMakespan], Figures(&evaluator, genome.variants, genome.cuts,
                                            genome.strict[0] != 0, genome.priority)[kMakespan]);
    // Side by side they take about as long on both.
    CHECK(figures[kMakespan] < 10.0 * kOps * 0.6);
    found.push_back(genome.variants);
  }
  CHECK(found[0] == found[1]);
  CHECK(found[0] != found[2]);
}

TEST(ImprovesNothingWhereThereIsNothing) {
  const Example example(0, {});
  Evaluator evaluator(example.arrays());
  Improver improver(&evaluator);
  Genome genome(example);
  const std::vector<double> penalties(kRules, 1.0);
  std::vector<double> figures(evaluator.n_figures());
  improver.Improve({kLatency, penalties.data()}, {100, 0.05, 5e-4, 1}, genome.placement(),
                   figures.data());
  CHECK_EQUAL(figures[kMakespan], 0.0);
}

}  // namespace
}  // namespace tdse::evaluate
