// The placement problem of python/tdse/search/problem.py, laid out for the evaluation.
#ifndef TDSE_EVALUATE_PROBLEM_H_
#define TDSE_EVALUATE_PROBLEM_H_

#include <cstdint>
#include <vector>

namespace tdse::evaluate {

// What callers give: sizes, then row-major arrays, which are copied. The fields, their order and
// their types are repeated in python/tdse/search/native.py. Times are in microseconds, sizes in
// bytes; names and shapes are those of the Python class where they are equal.
struct ProblemArrays {
  int32_t n_ops;
  int32_t n_variants;
  int32_t n_devices;
  int32_t n_memories;
  int32_t n_buses;
  int32_t n_models;
  int32_t n_links;
  int32_t n_values;
  int32_t n_forbidden_pairs;
  const int32_t* links;           // [n_links, 2], ascending
  const int32_t* value_producer;  // [n_values], ascending; -1 for inputs
  const int64_t* value_bytes;     // [n_values]
  const uint8_t* value_is_output;
  const int32_t* consumer_begin;  // [n_values + 1], where a value's consumers begin
  const int32_t* consumers;       // ascending for each value
  const double* cost_us;          // [n_ops, n_variants]; 0 where it is not legal
  const uint8_t* allowed;         // [n_ops, n_variants], legal and as pinned
  const double* energy_uj;
  const int64_t* parameter_bytes;
  const double* launch_us;
  const double* border_us;
  const double* copy_us_per_byte;
  const double* host_border_us;
  const double* host_copy_us_per_byte;
  const double* active_w;
  const int32_t* variant_device;
  const int32_t* variant_cores;
  const int32_t* variant_batch;
  const uint8_t* single_region;
  const uint8_t* prefix;
  const int32_t* device_cores;
  const int32_t* device_memory;
  const double* idle_w;
  const double* parameter_capacity_bytes;
  const double* slowdown;
  const double* memory_bytes;
  const double* link_latency_us;
  const double* link_us_per_byte;
  const int32_t* link_bus;
  const int32_t* forbidden_pairs;
  const int32_t* model_of;
  const double* deadline_us;
  const double* period_us;
  double energy_budget_uj;
};

// A tensor of an operator that begins or ends to take memory, if it does not leave its region.
struct InnerBytes {
  int32_t op;
  int32_t value;
  int64_t change;
};

// A time that grows with the bytes of a value.
struct LinearTime {
  double fixed_us, us_per_byte;

  double Of(int64_t size_bytes) const {
    return fixed_us + us_per_byte * static_cast<double>(size_bytes);
  }
};

// How a memory's values come to another; it takes no time to the memory itself.
struct Way {
  LinearTime time;  // zero if the way is missing, which is told otherwise
  int32_t bus;
  bool is_missing;
};

// An operator as a variant.
struct Choice {
  double cost_us, energy_uj;
  int32_t is_illegal;
};

// That an operator reads a value, or the caller of a model, which is n_ops and the model. Inputs
// are made by n_ops.
struct Use {
  int32_t value, producer, consumer;
};

struct Problem {
  explicit Problem(const ProblemArrays& arrays);

  int32_t n_ops, n_variants, n_devices, n_memories, n_buses, n_models, n_links, n_values;

  std::vector<int32_t> link_source, link_target;
  // By operator: the link to it from the nearest operator, which most often runs as the same
  // variant; n_links if there is none.
  std::vector<int32_t> nearest_link;
  std::vector<int32_t> other_links;

  std::vector<int64_t> value_bytes;  // of inputs, then by their producers
  std::vector<Use> uses;             // by value, then ascending
  // In the order of the operators: what the tensors of each take, then what those that it reads
  // last give back.
  std::vector<InnerBytes> inner_bytes;

  std::vector<Choice> choices;           // [n_ops, n_variants]
  std::vector<int64_t> parameter_bytes;  // [n_ops]
  std::vector<double> launch_us, active_w;
  // [n_variants + 1, n_variants + 1], of a value that goes from a region to another; the last
  // variant is the caller.
  std::vector<LinearTime> borders;
  std::vector<int32_t> variant_device, variant_memory, variant_cores;
  std::vector<int32_t> variant_slots;  // regions of the variant that its device has cores for
  std::vector<double> variant_runs;    // runs that all slots together do at once: slots and batch
  std::vector<uint8_t> single_region, prefix;
  std::vector<int32_t> device_cores, device_memory;
  std::vector<double> parameter_capacity_bytes, slowdown, memory_bytes;
  int32_t host_memory;    // the first device's, where inputs come from and outputs go to
  std::vector<Way> ways;  // [n_memories, n_memories]
  std::vector<int32_t> forbidden_pairs;
  std::vector<int32_t> model_of;
  std::vector<double> deadline_us, period_us;
  double idle_w;  // of all devices together
  double energy_budget_uj;

  // What no variant or device has need not be looked at.
  bool has_slowdown, has_prefix, has_single_region, has_capacity, has_memory_limit;

 private:
  void AddLinks(const int32_t* links);
  void AddValues(const ProblemArrays& arrays);
  void AddBorders(const ProblemArrays& arrays);
  void AddWays(const ProblemArrays& arrays);
};

}  // namespace tdse::evaluate

#endif  // TDSE_EVALUATE_PROBLEM_H_
