#include "problem.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace tdse::evaluate {
namespace {

template <typename Item>
std::vector<Item> Copy(const Item* items, size_t size) {
  return std::vector<Item>(items, items + size);
}

template <typename Item>
bool AnyOtherThan(const std::vector<Item>& items, Item usual) {
  return std::any_of(items.begin(), items.end(), [=](Item item) { return item != usual; });
}

}  // namespace

Problem::Problem(const ProblemArrays& a)
    : n_ops(a.n_ops),
      n_variants(a.n_variants),
      n_devices(a.n_devices),
      n_memories(a.n_memories),
      n_buses(a.n_buses),
      n_models(a.n_models),
      n_links(a.n_links),
      n_values(a.n_values) {
  const size_t variants = n_variants, devices = n_devices;
  AddLinks(a.links);
  AddBorders(a);
  AddWays(a);

  AddValues(a);
  for (int32_t op = 0; op < n_ops; ++op) {
    for (int32_t variant = 0; variant < n_variants; ++variant) {
      const int32_t i = op * n_variants + variant;
      choices.push_back({a.cost_us[i], a.energy_uj[i], !a.allowed[i]});
    }
  }
  parameter_bytes = Copy(a.parameter_bytes, n_ops);
  launch_us = Copy(a.launch_us, variants);
  active_w = Copy(a.active_w, variants);
  variant_device = Copy(a.variant_device, variants);
  variant_cores = Copy(a.variant_cores, variants);
  for (size_t variant = 0; variant < variants; ++variant) {
    variant_slots.push_back(a.device_cores[a.variant_device[variant]] / a.variant_cores[variant]);
    variant_runs.push_back(static_cast<double>(variant_slots[variant]) * a.variant_batch[variant]);
  }
  single_region = Copy(a.single_region, variants);
  prefix = Copy(a.prefix, variants);
  device_cores = Copy(a.device_cores, devices);
  device_memory = Copy(a.device_memory, devices);
  host_memory = device_memory[0];
  for (const int32_t device : variant_device) variant_memory.push_back(device_memory[device]);
  parameter_capacity_bytes = Copy(a.parameter_capacity_bytes, devices);
  slowdown = Copy(a.slowdown, devices * devices);
  memory_bytes = Copy(a.memory_bytes, n_memories);
  forbidden_pairs = Copy(a.forbidden_pairs, 2 * static_cast<size_t>(a.n_forbidden_pairs));
  model_of = Copy(a.model_of, n_ops);
  deadline_us = Copy(a.deadline_us, n_models);
  period_us = Copy(a.period_us, n_models);
  idle_w = 0.0;
  for (size_t device = 0; device < devices; ++device) idle_w += a.idle_w[device];
  energy_budget_uj = a.energy_budget_uj;

  has_capacity = AnyOtherThan(parameter_capacity_bytes, double{INFINITY});
  has_memory_limit = AnyOtherThan(memory_bytes, double{INFINITY});
  has_slowdown = AnyOtherThan(slowdown, 1.0);
  has_prefix = AnyOtherThan(prefix, uint8_t{0});
  has_single_region = AnyOtherThan(single_region, uint8_t{0});
}

void Problem::AddLinks(const int32_t* links) {
  nearest_link.resize(n_ops, n_links);
  for (int32_t link = 0; link < n_links; ++link) {
    link_source.push_back(links[2 * link]);
    link_target.push_back(links[2 * link + 1]);
    nearest_link[link_target[link]] = link;
  }
  for (int32_t link = 0; link < n_links; ++link) {
    if (nearest_link[link_target[link]] != link) other_links.push_back(link);
  }
  // What operators without a link find at `n_links`.
  link_source.push_back(0);
}

void Problem::AddValues(const ProblemArrays& a) {
  value_bytes = Copy(a.value_bytes, n_values);
  for (int32_t i = 0; i < n_values; ++i) {
    const bool is_input = a.value_producer[i] < 0;
    const int32_t producer = is_input ? n_ops : a.value_producer[i];
    const int32_t begin = a.consumer_begin[i], end = a.consumer_begin[i + 1];
    for (int32_t j = begin; j < end; ++j) uses.push_back({i, producer, a.consumers[j]});
    if (a.value_is_output[i]) uses.push_back({i, producer, n_ops + a.model_of[producer]});
    if (is_input || begin == end) continue;
    inner_bytes.push_back({producer, i, a.value_bytes[i]});
    inner_bytes.push_back({a.consumers[end - 1], i, -a.value_bytes[i]});
  }
  std::stable_sort(
      inner_bytes.begin(), inner_bytes.end(), [](const InnerBytes& one, const InnerBytes& other) {
        return std::make_pair(one.op, one.change < 0) < std::make_pair(other.op, other.change < 0);
      });
}

void Problem::AddBorders(const ProblemArrays& a) {
  for (int32_t from = 0; from < n_variants; ++from) {
    for (int32_t into = 0; into < n_variants; ++into) {
      const int32_t pair = from * n_variants + into;
      borders.push_back({a.border_us[pair], a.copy_us_per_byte[pair]});
    }
    borders.push_back({a.host_border_us[from], a.host_copy_us_per_byte[from]});
  }
  for (int32_t into = 0; into < n_variants; ++into) {
    borders.push_back({a.host_border_us[into], a.host_copy_us_per_byte[into]});
  }
  borders.push_back({0.0, 0.0});
}

void Problem::AddWays(const ProblemArrays& a) {
  for (int32_t source = 0; source < n_memories; ++source) {
    for (int32_t target = 0; target < n_memories; ++target) {
      const int32_t link = source * n_memories + target;
      if (source == target) {
        ways.push_back({{0.0, 0.0}, -1, false});
      } else if (std::isinf(a.link_us_per_byte[link])) {
        ways.push_back({{0.0, 0.0}, -1, true});
      } else {
        ways.push_back(
            {{a.link_latency_us[link], a.link_us_per_byte[link]}, a.link_bus[link], false});
      }
    }
  }
}

}  // namespace tdse::evaluate
