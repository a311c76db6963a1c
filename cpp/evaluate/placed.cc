#include "placed.h"

#include <algorithm>

namespace tdse::evaluate {

Placed::Placed(const Problem& problem)
    : problem_(problem),
      formed_(problem),
      regions_(problem.n_ops + problem.n_models),
      leaving_(problem.n_values),
      crossing_use_(problem.uses.size() + 1),
      deliveries_(problem.uses.size()),
      n_left_(static_cast<size_t>(problem.n_values) * problem.n_memories),
      is_inner_(problem.n_values),
      parameter_bytes_(problem.n_devices),
      n_listed_(problem.n_devices),
      listable_(problem.n_ops) {
  for (int32_t variant = 0; variant < problem.n_variants; ++variant) {
    Region region{};
    region.variant = variant;
    region.device = problem.variant_device[variant];
    region.memory = problem.variant_memory[variant];
    region.cores = problem.variant_cores[variant];
    region.first_made = region.first_read = region.last_read = -1;
    region.work_us = problem.launch_us[variant];
    blank_.push_back(region);
  }
  Region caller{};
  caller.variant = problem.n_variants;
  caller.memory = problem.host_memory;
  caller.first_made = caller.first_read = caller.last_read = -1;
  blank_.push_back(caller);
}

void Placed::Place(const Genes& genes, bool counts_memory) {
  variants_ = genes.variants;
  formed_.Form(genes.variants, genes.cuts);
  for (int32_t index = 0; index < n_regions(); ++index) {
    const int32_t op = formed_.first(index);
    regions_[index] = blank_[variants_[op]];
    regions_[index].model = problem_.model_of[op];
  }
  for (int32_t model = 0; model < problem_.n_models; ++model) {
    regions_[caller(model)] = blank_[problem_.n_variants];
    regions_[caller(model)].model = model;
  }
  AddOperators();
  if (counts_memory || problem_.has_capacity) AddParameters();
  AddValues();
  LinkDeliveries();
  if (counts_memory) {
    AddLeaving();
    CountReaders();
    AddInnerBytes();
  }
  SetKeys(genes);
}

void Placed::AddOperators() {
  int32_t n_illegal = 0;
  double energy_uj = 0.0;
  // Neighbours are mostly of one region, whose sum so far would have to come from memory each time.
  Region* region = &regions_[caller(0)];
  double work_us = region->work_us;
  const Choice* choices = problem_.choices.data();
  for (int32_t op = 0; op < problem_.n_ops; ++op, choices += problem_.n_variants) {
    Region* const home = &regions_[formed_.of(op)];
    if (home != region) {
      region->work_us = work_us;
      work_us = home->work_us;
      region = home;
    }
    const Choice& choice = choices[variants_[op]];
    work_us += choice.cost_us;
    energy_uj += choice.energy_uj;
    n_illegal += choice.is_illegal;
  }
  region->work_us = work_us;
  n_illegal_ = n_illegal;
  energy_uj_ = energy_uj;
}

void Placed::AddParameters() {
  std::fill(parameter_bytes_.begin(), parameter_bytes_.end(), 0);
  for (int32_t op = 0; op < problem_.n_ops; ++op) {
    parameter_bytes_[problem_.variant_device[variants_[op]]] += problem_.parameter_bytes[op];
  }
}

// Lists which values are read outside the region that makes them, and where; and adds what that
// costs. Nearly without branches, since nothing foretells where regions end.
void Placed::AddValues() {
  ListCrossings();
  Region* const regions = regions_.data();
  const int32_t n_regions = formed_.size(), n_memories = problem_.n_memories;
  const int32_t n_sides = problem_.n_variants + 1;
  int32_t count = 0;
  for (int32_t i = 0; i < n_crossings_; ++i) {
    const Use& use = problem_.uses[crossing_use_[i]];
    const int32_t value = use.value, reader = formed_.of(use.consumer);
    Region& region = regions[reader];
    // Another operator of the region reads it as well.
    if (region.last_read == value) continue;
    region.last_read = value;
    ++region.waiting;
    const int32_t maker = formed_.of(use.producer);
    Region& home = regions[maker];
    const int64_t size_bytes = problem_.value_bytes[value];
    Delivery& delivery = deliveries_[count++];
    delivery.value = value;
    delivery.home = maker;
    delivery.region = reader;
    delivery.way = &problem_.ways[home.memory * n_memories + region.memory];
    delivery.carry_us = delivery.way->time.Of(size_bytes);
    // What is handed over to the caller is work of the region that makes it.
    double& work_us = reader < n_regions ? region.work_us : home.work_us;
    work_us += problem_.borders[home.variant * n_sides + region.variant].Of(size_bytes);
  }
  n_deliveries_ = count;
}

// Likewise without branches.
void Placed::ListCrossings() {
  const Use* const uses = problem_.uses.data();
  int32_t* const crossing_use = crossing_use_.data();
  const auto n_uses = static_cast<int32_t>(problem_.uses.size());
  int32_t count = 0;
  for (int32_t i = 0; i < n_uses; ++i) {
    crossing_use[count] = i;
    count += formed_.of(uses[i].consumer) != formed_.of(uses[i].producer);
  }
  n_crossings_ = count;
}

// Lists what each region delivers, in order.
void Placed::LinkDeliveries() {
  for (int32_t d = n_deliveries_ - 1; d >= 0; --d) {
    Region& home = regions_[deliveries_[d].home];
    deliveries_[d].next_made = home.first_made;
    home.first_made = d;
  }
}

// Lists what leaves its region.
void Placed::AddLeaving() {
  std::fill(is_inner_.begin(), is_inner_.end(), -1);
  int32_t count = 0, last_value = -1;
  for (int32_t d = 0; d < n_deliveries_; ++d) {
    Delivery& delivery = deliveries_[d];
    count += delivery.value != last_value;
    last_value = delivery.value;
    delivery.leaving = count - 1;
    leaving_[count - 1] = {delivery.home, 0, problem_.value_bytes[last_value]};
    is_inner_[last_value] = 0;
  }
  n_leaving_ = count;
}

// Lists what each region reads, and counts who is to read what.
void Placed::CountReaders() {
  std::fill_n(n_left_.begin(), static_cast<size_t>(n_leaving_) * problem_.n_memories, 0);
  for (int32_t index = 0; index < n_leaving_; ++index) {
    Region& home = regions_[leaving_[index].home];
    home.leaving_bytes += leaving_[index].size_bytes;
    ++n_left(index, home.memory);
  }
  for (int32_t d = 0; d < n_deliveries_; ++d) {
    Delivery& delivery = deliveries_[d];
    Region& region = regions_[delivery.region];
    delivery.next_read = region.first_read;
    region.first_read = d;
    ++leaving_[delivery.leaving].n_left;
    ++n_left(delivery.leaving, region.memory);
  }
}

// The most that tensors which do not leave their region take at once.
void Placed::AddInnerBytes() {
  for (const InnerBytes& bytes : problem_.inner_bytes) {
    Region& region = regions_[formed_.of(bytes.op)];
    const int64_t live_bytes = region.inner_live_bytes + (bytes.change & is_inner_[bytes.value]);
    region.inner_live_bytes = live_bytes;
    region.inner_bytes = std::max(region.inner_bytes, live_bytes);
  }
}

// What each device starts its regions by: the least key first.
void Placed::SetKeys(const Genes& genes) {
  SetTails();
  for (int32_t op = 0; genes.priority && op < problem_.n_ops; ++op) {
    regions_[formed_.of(op)].key -= genes.priority[op];
  }
  if (genes.strict) SetListOrder();
}

// The longest way from each region's start to the end of the run, if nothing were shared. As a key
// it is negative.
void Placed::SetTails() {
  for (int32_t i = 0; i < n_regions(); ++i) {
    Region& region = regions_[formed_.from_the_end()[i]];
    double after_us = 0.0;
    for (int32_t d = region.first_made; d >= 0; d = deliveries_[d].next_made) {
      const Region& reader = regions_[deliveries_[d].region];
      after_us = std::max(after_us, deliveries_[d].carry_us + (reader.work_us + reader.after_us));
    }
    region.after_us = after_us;
    region.key = -(region.work_us + after_us);
  }
}

// Makes the keys positions in one list, in which each region is after those that it reads from.
void Placed::SetListOrder() {
  // `position` counts deliveries at first: inputs hold nobody up.
  for (int32_t region = 0; region < n_regions(); ++region) {
    regions_[region].position = regions_[region].waiting;
  }
  for (int32_t d = regions_[caller(0)].first_made; d >= 0; d = deliveries_[d].next_made) {
    --regions_[deliveries_[d].region].position;
  }
  for (int32_t region = 0; region < n_regions(); ++region) {
    if (!regions_[region].position) listable_.Push(regions_[region].key, region);
  }
  std::fill(n_listed_.begin(), n_listed_.end(), 0);
  for (int32_t listed = 0; listed < n_regions(); ++listed) {
    Region& region = regions_[listable_.top().region];
    listable_.Pop();
    for (int32_t d = region.first_made; d >= 0; d = deliveries_[d].next_made) {
      const int32_t index = deliveries_[d].region;
      // Callers are not listed.
      if (!--regions_[index].position && index < n_regions()) {
        listable_.Push(regions_[index].key, index);
      }
    }
    region.key = listed;
    region.position = n_listed_[region.device]++;
  }
}

}  // namespace tdse::evaluate
