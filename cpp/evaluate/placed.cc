#include "placed.h"

#include <algorithm>

namespace tdse::evaluate {

Placed::Placed(const Problem& problem)
    : problem_(problem),
      formed_(problem),
      regions_(problem.n_ops),
      leaving_(problem.n_values),
      readings_(problem.consumers.size()),
      copies_(static_cast<size_t>(problem.n_values) * problem.n_memories),
      is_inner_(problem.n_values),
      parameter_bytes_(problem.n_devices),
      n_listed_(problem.n_devices),
      listable_(problem.n_ops) {}

void Placed::Place(const Genes& genes) {
  variants_ = genes.variants;
  formed_.Form(genes.variants, genes.cuts);
  for (int32_t index = 0; index < n_regions(); ++index) {
    const int32_t op = formed_.first(index), variant = variants_[op];
    Region& region = regions_[index];
    region.variant = variant;
    region.device = problem_.variant_device[variant];
    region.memory = problem_.variant_memory[variant];
    region.model = problem_.model_of[op];
    region.first_made = region.first_reading = -1;
    region.waiting = 0;
    region.work_us = problem_.launch_us[variant];
    region.leaving_bytes = region.inner_bytes = region.inner_live_bytes = 0;
    region.arrival_us = 0.0;
  }
  AddOperators();
  SetKeys(genes);
}

// Adds up what each region takes, and lists what it reads and what leaves it.
void Placed::AddOperators() {
  n_leaving_ = n_readings_ = n_illegal_ = 0;
  energy_uj_ = 0.0;
  std::fill(parameter_bytes_.begin(), parameter_bytes_.end(), 0);
  for (int32_t value = 0; value < problem_.n_inputs; ++value) AddReadings(value, -1);
  for (int32_t op = 0; op < problem_.n_ops; ++op) {
    const int32_t home = formed_.of(op);
    Region& region = regions_[home];
    const int32_t choice = op * problem_.n_variants + variants_[op];
    region.work_us += problem_.cost_us[choice];
    energy_uj_ += problem_.energy_uj[choice];
    n_illegal_ += !problem_.allowed[choice];
    parameter_bytes_[region.device] += problem_.parameter_bytes[op];
    for (int32_t value = problem_.made_begin[op]; value < problem_.made_begin[op + 1]; ++value) {
      is_inner_[value] = -static_cast<int64_t>(!AddReadings(value, home));
    }
    AddInnerBytes(op, &region);
  }
}

// Lists the readings of a value outside the region `home`, and adds what they cost; false if there
// are none and the value is no output.
bool Placed::AddReadings(int32_t value, int32_t home) {
  const int32_t* const consumers = problem_.consumers.data();
  const int32_t end = problem_.consumer_begin[value + 1], begin = n_readings_;
  const double size_bytes = static_cast<double>(problem_.value_bytes[value]);
  const int32_t from = home < 0 ? problem_.n_variants : regions_[home].variant;
  const LinearTime* const borders = &problem_.borders[from * (problem_.n_variants + 1)];
  for (int32_t i = problem_.consumer_begin[value]; i < end; ++i) {
    const int32_t index = formed_.of(consumers[i]);
    if (index == home) continue;
    Region& region = regions_[index];
    if (region.first_reading >= begin) continue;
    readings_[n_readings_] = {n_leaving_, index, region.first_reading};
    region.first_reading = n_readings_++;
    ++region.waiting;
    region.work_us += borders[region.variant].Of(size_bytes);
  }
  const bool is_output = problem_.value_is_output[value];
  if (n_readings_ == begin && !is_output && home >= 0) return false;
  const int32_t memory = home < 0 ? problem_.host_memory : regions_[home].memory;
  Leaving& leaving = leaving_[n_leaving_];
  leaving = {value,     memory,
             begin,     n_readings_,
             -1,        n_readings_ - begin + is_output,
             is_output, problem_.value_bytes[value]};
  Copy* const copies = &copies_[static_cast<size_t>(n_leaving_) * problem_.n_memories];
  for (int32_t m = 0; m < problem_.n_memories; ++m) copies[m] = {-1.0, 0};
  for (int32_t i = begin; i < n_readings_; ++i)
    ++copies[regions_[readings_[i].region].memory].n_left;
  // Where it is made it is kept until all have read it.
  ++copies[memory].n_left;
  if (home >= 0) {
    Region& region = regions_[home];
    if (is_output) {
      ++copies[problem_.host_memory].n_left;
      region.work_us += borders[problem_.n_variants].Of(size_bytes);
    }
    region.leaving_bytes += leaving.size_bytes;
    if (region.first_made < 0) {
      region.first_made = n_leaving_;
    } else {
      leaving_[region.last_made].next_made = n_leaving_;
    }
    region.last_made = n_leaving_;
  }
  ++n_leaving_;
  return true;
}

void Placed::AddInnerBytes(int32_t op, Region* home) {
  int64_t live_bytes = home->inner_live_bytes, most_bytes = home->inner_bytes;
  for (int32_t i = problem_.inner_begin[op]; i < problem_.inner_begin[op + 1]; ++i) {
    const InnerBytes& bytes = problem_.inner_bytes[i];
    live_bytes += bytes.change & is_inner_[bytes.value];
    most_bytes = std::max(most_bytes, live_bytes);
  }
  home->inner_live_bytes = live_bytes;
  home->inner_bytes = most_bytes;
}

// What each device starts its regions by: the least key first.
void Placed::SetKeys(const Genes& genes) {
  if (genes.priority) {
    for (int32_t region = 0; region < n_regions(); ++region) {
      regions_[region].key = -genes.priority[formed_.first(region)];
    }
    for (int32_t op = 0; op < problem_.n_ops; ++op) {
      double& key = regions_[formed_.of(op)].key;
      key = std::min(key, -genes.priority[op]);
    }
  } else {
    SetTails();
  }
  if (genes.strict) SetListOrder();
}

// The longest way from each region's start to the end of the run, if nothing were shared. As a key
// it is negative.
void Placed::SetTails() {
  for (int32_t i = 0; i < n_regions(); ++i) {
    Region& region = regions_[formed_.from_the_end()[i]];
    const Way* const ways = &problem_.ways[region.memory * problem_.n_memories];
    double longest_us = 0.0;
    for (int32_t made = region.first_made; made >= 0; made = leaving_[made].next_made) {
      const Leaving& leaving = leaving_[made];
      const double size_bytes = static_cast<double>(leaving.size_bytes);
      for (int32_t r = leaving.reading_begin; r < leaving.reading_end; ++r) {
        const Region& reader = regions_[readings_[r].region];
        longest_us = std::max(longest_us, ways[reader.memory].time.Of(size_bytes) - reader.key);
      }
      if (leaving.is_output) {
        longest_us = std::max(longest_us, ways[problem_.host_memory].time.Of(size_bytes));
      }
    }
    region.key = -(region.work_us + longest_us);
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
