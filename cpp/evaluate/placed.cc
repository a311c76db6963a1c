#include "placed.h"

#include <algorithm>

namespace tdse::evaluate {

Placed::Placed(const Problem& problem)
    : problem_(problem),
      formed_(problem),
      regions_(problem.n_ops + 1),
      leaving_(problem.n_values),
      crossing_value_(problem.uses.size() + 1),
      crossing_region_(problem.uses.size() + 1),
      readings_(problem.uses.size()),
      there_us_(static_cast<size_t>(problem.n_values) * problem.n_memories),
      n_left_(there_us_.size()),
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
    region.first_made = region.first_reading = -1;
    region.work_us = problem.launch_us[variant];
    blank_.push_back(region);
  }
  Region caller{};
  caller.variant = problem.n_variants;
  caller.memory = problem.host_memory;
  caller.first_made = caller.first_reading = -1;
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
  // The caller is the region after the last.
  regions_[n_regions()] = blank_[problem_.n_variants];
  AddOperators();
  AddValues();
  LinkValues();
  if (counts_memory) {
    CountReaders();
    AddInnerBytes();
  }
  SetKeys(genes);
}

void Placed::AddOperators() {
  n_illegal_ = 0;
  energy_uj_ = 0.0;
  std::fill(parameter_bytes_.begin(), parameter_bytes_.end(), 0);
  for (int32_t op = 0; op < problem_.n_ops; ++op) {
    Region& region = regions_[formed_.of(op)];
    const Choice& choice = problem_.choices[op * problem_.n_variants + region.variant];
    region.work_us += choice.cost_us;
    energy_uj_ += choice.energy_uj;
    n_illegal_ += choice.is_illegal;
    parameter_bytes_[region.device] += choice.parameter_bytes;
  }
}

// Lists which values are read outside the region that makes them, and where; and adds what that
// costs.
void Placed::AddValues() {
  ListCrossings();
  n_leaving_ = n_readings_ = 0;
  int32_t last_value = -1;
  const LinearTime* borders = nullptr;
  for (int32_t i = 0; i < n_crossings_; ++i) {
    const int32_t index = crossing_region_[i];
    if (crossing_value_[i] != last_value) {
      last_value = crossing_value_[i];
      borders = AddLeaving(last_value);
    }
    Leaving& leaving = leaving_[n_leaving_ - 1];
    if (index == n_regions()) {
      Region& home = regions_[leaving.home];
      const Way& way = problem_.ways[home.memory * problem_.n_memories + problem_.host_memory];
      home.work_us += borders[problem_.n_variants].Of(leaving.size_bytes);
      home.after_us = std::max(home.after_us, way.time.Of(leaving.size_bytes));
      leaving.is_output = 1;
      continue;
    }
    Region& region = regions_[index];
    // It reads the value already.
    if (region.first_reading >= leaving.reading_begin) continue;
    readings_[n_readings_] = {n_leaving_ - 1, index, region.first_reading};
    region.first_reading = n_readings_++;
    leaving.reading_end = n_readings_;
    ++region.waiting;
    region.work_us += borders[region.variant].Of(leaving.size_bytes);
  }
}

// Without branches, since nothing foretells where regions end.
void Placed::ListCrossings() {
  int32_t count = 0;
  for (const Use& use : problem_.uses) {
    const int32_t region = formed_.of(use.consumer);
    crossing_value_[count] = use.value;
    crossing_region_[count] = region;
    count += region != formed_.of(use.producer);
  }
  n_crossings_ = count;
}

// Returns the borders to regions that read it.
const LinearTime* Placed::AddLeaving(int32_t index) {
  const Value& value = problem_.values[index];
  Leaving& leaving = leaving_[n_leaving_];
  leaving.value = index;
  leaving.size_bytes = value.size_bytes;
  leaving.reading_begin = leaving.reading_end = n_readings_;
  leaving.is_output = 0;
  leaving.home = formed_.of(value.producer);
  Region& home = regions_[leaving.home];
  leaving.memory = home.memory;
  home.leaving_bytes += value.size_bytes;
  ++n_leaving_;
  return &problem_.borders[home.variant * (problem_.n_variants + 1)];
}

// Lists what leaves each region, in order.
void Placed::LinkValues() {
  std::fill_n(there_us_.begin(), At(n_leaving_, 0), -1.0);
  for (int32_t index = n_leaving_ - 1; index >= 0; --index) {
    Region& home = regions_[leaving_[index].home];
    leaving_[index].next_made = home.first_made;
    home.first_made = index;
  }
}

// Counts who is to read what leaves its region.
void Placed::CountReaders() {
  std::fill_n(n_left_.begin(), At(n_leaving_, 0), 0);
  for (int32_t r = 0; r < n_readings_; ++r) {
    ++n_left(readings_[r].leaving, regions_[readings_[r].region].memory);
  }
  for (int32_t index = 0; index < n_leaving_; ++index) {
    Leaving& leaving = leaving_[index];
    leaving.n_left = leaving.reading_end - leaving.reading_begin + leaving.is_output;
    // Where it is made, it stays until all have read it; on the host, an output does.
    ++n_left(index, leaving.memory);
    n_left(index, problem_.host_memory) += leaving.is_output;
  }
}

// The most that tensors which do not leave their region take at once.
void Placed::AddInnerBytes() {
  std::fill(is_inner_.begin(), is_inner_.end(), -1);
  for (int32_t index = 0; index < n_leaving_; ++index) is_inner_[leaving_[index].value] = 0;
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
    const double tail_us = region.work_us + region.after_us;
    region.key = -tail_us;
    for (int32_t r = region.first_reading; r >= 0; r = readings_[r].next) {
      const Leaving& leaving = leaving_[readings_[r].leaving];
      const Way& way = problem_.ways[leaving.memory * problem_.n_memories + region.memory];
      double& after_us = regions_[leaving.home].after_us;
      after_us = std::max(after_us, way.time.Of(leaving.size_bytes) + tail_us);
    }
  }
}

// Makes the keys positions in one list, in which each region is after those that it reads from.
void Placed::SetListOrder() {
  // `position` counts readings at first: inputs hold nobody up.
  for (int32_t region = 0; region < n_regions(); ++region) {
    regions_[region].position = regions_[region].waiting;
  }
  if (problem_.n_inputs > 0) {
    const int32_t end = leaving_[problem_.n_inputs - 1].reading_end;
    for (int32_t r = 0; r < end; ++r) --regions_[readings_[r].region].position;
  }
  for (int32_t region = 0; region < n_regions(); ++region) {
    if (!regions_[region].position) listable_.Push(regions_[region].key, region);
  }
  std::fill(n_listed_.begin(), n_listed_.end(), 0);
  for (int32_t listed = 0; listed < n_regions(); ++listed) {
    Region& region = regions_[listable_.top().region];
    listable_.Pop();
    for (int32_t made = region.first_made; made >= 0; made = leaving_[made].next_made) {
      const Leaving& leaving = leaving_[made];
      for (int32_t r = leaving.reading_begin; r < leaving.reading_end; ++r) {
        Region& reader = regions_[readings_[r].region];
        if (!--reader.position) listable_.Push(reader.key, readings_[r].region);
      }
    }
    region.key = listed;
    region.position = n_listed_[region.device]++;
  }
}

}  // namespace tdse::evaluate
