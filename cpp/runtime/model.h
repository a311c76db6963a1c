// What tdse_model is: model.so, its plan, and the executor of that.
#ifndef TDSE_RUNTIME_MODEL_H_
#define TDSE_RUNTIME_MODEL_H_

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "buffers.h"
#include "library_file.h"
#include "plan.h"
#include "python.h"
#include "shared_executor.h"

namespace tdse {

// A file and the plan in it. Owned together by the model and the threads of its lanes.
class OpenedModel {
 public:
  explicit OpenedModel(const std::string& path);
  OpenedModel(const OpenedModel&) = delete;
  OpenedModel& operator=(const OpenedModel&) = delete;

  const LibraryFile& file() const { return file_; }
  const Plan& plan() const { return plan_; }

 private:
  const LibraryFile file_;
  const AlignedBuffer bytes_;
  const Plan plan_;
};

// What runs each kind of region: LiteRT's and emulated ones, kernels of the file, and the kinds
// that `functions`, which may be null, run.
RegionFactories FactoriesOf(const std::shared_ptr<const OpenedModel>& opened,
                            const tdse_region_functions* functions);

}  // namespace tdse

struct tdse_model {
  explicit tdse_model(const char* path);

  // Throws std::runtime_error if the regions were not prepared.
  tdse::Executor& Executor();

  const std::shared_ptr<const tdse::OpenedModel> opened;
  const std::string description;
  std::vector<tdse_tensor> inputs;
  std::vector<tdse_tensor> outputs;
  std::unique_ptr<tdse::SharedExecutor> executor;
  std::vector<double> trace;

 private:
  std::vector<std::string> dtypes_;
};

struct tdse_stream {
  explicit tdse_stream(tdse_model* of) : model(*of), stream(&of->Executor()) {}

  tdse_model& model;
  // The program's end may cancel it while another thread waits for a result.
  std::mutex mutex;
  tdse::Stream stream;
};

#endif  // TDSE_RUNTIME_MODEL_H_
