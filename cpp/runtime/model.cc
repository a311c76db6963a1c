#include "model.h"

#include <stdexcept>
#include <utility>

#include "called_region.h"
#include "emulated_region.h"
#include "litert_region.h"

namespace tdse {
namespace {

RegionFactory NeedsTvm(const std::string& kind) {
  return [kind](const Plan&, const PlanRegion&) -> std::unique_ptr<Region> {
    throw std::runtime_error("regions of kind '" + kind +
                             "' need TVM's runtime; load the artefact with tdse.load in Python");
  };
}

// Regions that the program's functions run, if it has any.
RegionFactory CalledRegions(const std::string& kind, const tdse_region_functions* functions) {
  if (functions == nullptr) {
    return [kind](const Plan&, const PlanRegion&) -> std::unique_ptr<Region> {
      throw std::runtime_error("regions of kind '" + kind +
                               "' are run by Python; load the artefact with tdse.load there");
    };
  }
  return [given = *functions](const Plan& plan, const PlanRegion& region) {
    return MakeCalledRegion(given, plan, region);
  };
}

KernelSource KernelsOf(const std::shared_ptr<const OpenedModel>& opened) {
  return {
      [opened](const std::string& symbol) -> Kernel {
        return {opened->file().FindKernel(symbol), nullptr, opened};
      },
      // Kernels check nothing, so there is one thing that can go wrong.
      [] { return std::string("there is not enough memory for a kernel"); },
  };
}

}  // namespace

OpenedModel::OpenedModel(const std::string& path)
    : file_(path),
      bytes_(file_.plan().data, file_.plan().size),
      plan_(ParsePlan(bytes_.data(), bytes_.size())) {
  file_.ForgetPlan();
}

RegionFactories FactoriesOf(const std::shared_ptr<const OpenedModel>& opened,
                            const tdse_region_functions* functions) {
  const RegionFactories host = {
      {"litert", MakeLiteRtRegion},
      {"litert_interpreter", CalledRegions("litert_interpreter", functions)}};
  RegionFactories all = host;
  all["emulated"] = [host](const Plan& plan, const PlanRegion& region) {
    return MakeEmulatedRegion(plan, region, host);
  };
  all["tvm"] = [opened, kernels = KernelsOf(opened)](const Plan& plan, const PlanRegion& region) {
    opened->file().RequireOwnKernels();
    return MakeKernelRegion(plan, region, kernels);
  };
  for (const PlanRegion& planned : opened->plan().regions) {
    if (all.count(planned.kind) != 0) continue;
    const bool is_of_tvm = planned.device().device_type != kDLCPU;
    all[planned.kind] = is_of_tvm ? NeedsTvm(planned.kind) : CalledRegions(planned.kind, functions);
  }
  return all;
}

}  // namespace tdse

tdse_model::tdse_model(const char* path)
    : opened(std::make_shared<const tdse::OpenedModel>(path)),
      description(tdse::DescribePlan(opened->plan())) {
  const tdse::Plan& plan = opened->plan();
  dtypes_.reserve(plan.inputs.size() + plan.outputs.size());
  const auto list = [&](const std::vector<tdse::TensorId>& ids, std::vector<tdse_tensor>* to) {
    for (const tdse::TensorId id : ids) {
      const tdse::PlanTensor& tensor = plan.tensors[id];
      dtypes_.push_back(tdse::TypeName(tensor.dtype));
      to->push_back({tensor.name.c_str(), dtypes_.back().c_str(), tensor.shape.size(),
                     tensor.shape.data(), tensor.size_bytes});
    }
  };
  list(plan.inputs, &inputs);
  list(plan.outputs, &outputs);
}

tdse::Executor& tdse_model::Executor() {
  if (executor == nullptr) throw std::runtime_error("the model is opened, but not prepared");
  return executor->Get();
}
