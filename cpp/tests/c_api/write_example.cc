// Writes the bytes that TVM's exporter would embed in a model.so, as text for C to include.
//
//   tdse_write_example KIND
//
// The plan: 4096 int8 in, 4096 out; two regions in a row, each on a lane of its own. The first adds
// one in a kernel that threads divide; the second is of KIND, and doubles in a kernel if that is
// "tvm".
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "plans.h"

namespace {

constexpr int64_t kElements = 4096;

tdse::Plan Example(const std::string& kind) {
  tdse::Plan plan;
  for (const char* name : {"x", "mid", "y"}) plan.tensors.push_back(tdse::Vector(name, kElements));
  plan.inputs = {0};
  plan.outputs = {2};
  for (const char* name : {"one", "two"}) plan.lanes.push_back({name, {}, 50, 0});
  tdse::PlanRegion first{"first", "tvm", 2, -1, {0}, {1}, {{"add_one", {0, 1}, 64}}, {0}};
  tdse::PlanRegion second{"second", kind, 1, -1, {1}, {2}, {}, {1}};
  if (kind == "tvm") second.steps = {{"twice", {1, 2}, 0}};
  plan.regions = {first, second};
  return plan;
}

void Append(std::vector<uint8_t>* bytes, uint64_t number) {
  for (int i = 0; i < 8; ++i) bytes->push_back(static_cast<uint8_t>(number >> (8 * i)));
}

template <typename Text>
void AppendText(std::vector<uint8_t>* bytes, const Text& text) {
  Append(bytes, text.size());
  bytes->insert(bytes->end(), text.begin(), text.end());
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  // Two modules: the executor, which imports the library with the kernels.
  std::vector<uint8_t> modules;
  for (const std::vector<uint64_t>& numbers :
       {std::vector<uint64_t>{0, 1, 1}, std::vector<uint64_t>{1}}) {
    Append(&modules, numbers.size());
    for (const uint64_t number : numbers) Append(&modules, number);
  }
  AppendText(&modules, std::string("tdse_executor"));
  AppendText(&modules, tdse::PlanBytes(Example(arguments[1])));
  AppendText(&modules, std::string("_lib"));
  std::vector<uint8_t> all;
  Append(&all, modules.size());
  all.insert(all.end(), modules.begin(), modules.end());
  for (const uint8_t byte : all) std::printf("%d,\n", byte);
  return 0;
}
