#include "functions.h"

#include <stdexcept>
#include <string>

namespace tdse {
namespace {

namespace ffi = tvm::ffi;

void* ToAddress(ffi::AnyView argument) { return reinterpret_cast<void*>(argument.cast<int64_t>()); }

}  // namespace

void RequireCount(ffi::PackedArgs args, size_t count, const char* function) {
  if (static_cast<size_t>(args.size()) == count) return;
  throw std::runtime_error(std::string(function) + " takes " + std::to_string(count) +
                           " arguments, not " + std::to_string(args.size()));
}

std::vector<const void*> InputsOf(const Plan& plan, ffi::PackedArgs args, int first) {
  std::vector<const void*> inputs(plan.inputs.size());
  for (const void*& input : inputs) input = ToAddress(args[first++]);
  return inputs;
}

std::vector<void*> OutputsOf(const Plan& plan, ffi::PackedArgs args, int first) {
  std::vector<void*> outputs(plan.outputs.size());
  for (void*& output : outputs) output = ToAddress(args[first++]);
  return outputs;
}

}  // namespace tdse
