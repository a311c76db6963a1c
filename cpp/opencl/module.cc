#include "module.h"

#include <tvm/ffi/cast.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/object.h>
#include <tvm/ffi/reflection/registry.h>

#include <cstring>
#include <exception>
#include <stdexcept>

#include "device_api.h"

namespace tvm {
namespace runtime {

namespace ffi = tvm::ffi;

// As in TVM's src/runtime/metadata.h, which the wheel does not carry.
class FunctionInfoObj : public ffi::Object {
 public:
  ffi::String name;
  ffi::Array<DLDataType> arg_types;
  ffi::Array<ffi::String> launch_param_tags;
  ffi::Array<int> arg_extra_tags;
  TVM_FFI_DECLARE_OBJECT_INFO_FINAL("runtime.FunctionInfo", FunctionInfoObj, ffi::Object);
};

class FunctionInfo : public ffi::ObjectRef {
 public:
  TVM_FFI_DEFINE_OBJECT_REF_METHODS_NULLABLE(FunctionInfo, ffi::ObjectRef, FunctionInfoObj);
};

}  // namespace runtime
}  // namespace tvm

namespace tdse {
namespace opencl {
namespace {

namespace ffi = tvm::ffi;

// The code generator writes this line above each kernel, its declarations and pragmas.
constexpr char kSeparator[] = "// Function: ";

// Reads what TVM's serialiser writes: sizes are u64, numbers little endian.
class Reader {
 public:
  explicit Reader(const ffi::Bytes& bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  template <typename T>
  T Number() {
    Require(sizeof(T));
    T value;
    std::memcpy(&value, at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  std::string Text() {
    const auto length = Number<uint64_t>();
    Require(length);
    std::string text(at_, length);
    at_ += length;
    return text;
  }

  template <typename ReadItem>
  auto List(const ReadItem& read_item) {
    std::vector<decltype(read_item())> items;
    for (auto left = Number<uint64_t>(); left > 0; --left) items.push_back(read_item());
    return items;
  }

 private:
  void Require(uint64_t bytes) const {
    if (bytes > static_cast<uint64_t>(end_ - at_)) {
      throw std::runtime_error("the OpenCL module is damaged: it ends too early");
    }
  }

  const char* at_;
  const char* end_;
};

class Writer {
 public:
  template <typename T>
  void Number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  void Text(const std::string& text) {
    Number<uint64_t>(text.size());
    bytes_.append(text);
  }

  template <typename T, typename WriteItem>
  void List(const std::vector<T>& items, const WriteItem& write_item) {
    Number<uint64_t>(items.size());
    for (const T& item : items) write_item(item);
  }

  ffi::Bytes Take() { return ffi::Bytes(std::move(bytes_)); }

 private:
  std::string bytes_;
};

KernelInfo ReadKernel(Reader* reader) {
  KernelInfo info;
  reader->Text();  // the key in TVM's map, which is the name
  info.name = reader->Text();
  info.argument_types = reader->List([&] {
    DLDataType type;
    type.code = reader->Number<uint8_t>();
    type.bits = reader->Number<uint8_t>();
    type.lanes = reader->Number<uint16_t>();
    return type;
  });
  info.launch_tags = reader->List([&] { return reader->Text(); });
  info.argument_tags = reader->List([&] { return reader->Number<int32_t>(); });
  return info;
}

// Where an extent goes in a launch: dimensions 0 to 2 of blockIdx, 3 to 5 of threadIdx.
size_t ExtentOf(const std::string& tag) {
  for (const std::string prefix : {"blockIdx.", "threadIdx."}) {
    if (tag.size() != prefix.size() + 1 || tag.compare(0, prefix.size(), prefix) != 0) continue;
    const int dimension = tag.back() - 'x';
    if (dimension >= 0 && dimension < 3) return (prefix[0] == 't' ? 3 : 0) + dimension;
  }
  // What was read may be anything, so it is not shown.
  throw std::runtime_error(
      "a kernel of the OpenCL module is launched over another index than "
      "blockIdx or threadIdx");
}

// The part of the code that is the kernel's.
std::string SourceOf(const std::string& code, const std::string& kernel) {
  const std::string head = kSeparator + kernel + "\n";
  const size_t begin = code.find(head);
  if (begin == std::string::npos) {
    throw std::runtime_error("the OpenCL module has no code of the kernel " + kernel);
  }
  const size_t end = code.find(kSeparator, begin + head.size());
  return code.substr(begin, end == std::string::npos ? end : end - begin);
}

const Buffer& BufferOf(ffi::AnyView argument) {
  const auto* buffer = static_cast<const Buffer*>(argument.cast<void*>());
  if (buffer == nullptr) throw std::runtime_error("a tensor has no memory on an OpenCL device");
  return *buffer;
}

}  // namespace

struct OpenClModule::Kernel {
  KernelInfo info;
  std::vector<size_t> extents;
};

OpenClModule::OpenClModule(std::string format, std::string code, std::vector<KernelInfo> kernels)
    : format_(std::move(format)), code_(std::move(code)) {
  for (KernelInfo& info : kernels) {
    std::vector<size_t> extents;
    for (const std::string& tag : info.launch_tags) extents.push_back(ExtentOf(tag));
    kernels_.push_back({std::move(info), std::move(extents)});
  }
}

OpenClModule::~OpenClModule() {
  for (const auto& [key, kernel] : compiled_) GetApi().ReleaseKernel(kernel);
}

ffi::Module OpenClModule::Load(const ffi::Bytes& bytes) {
  Reader reader(bytes);
  std::string format = reader.Text();
  std::vector<KernelInfo> kernels = reader.List([&] { return ReadKernel(&reader); });
  std::string code = reader.Text();
  return ffi::Module(
      ffi::make_object<OpenClModule>(std::move(format), std::move(code), std::move(kernels)));
}

int OpenClModule::GetPropertyMask() const {
  return ffi::Module::kBinarySerializable | ffi::Module::kRunnable;
}

ffi::Bytes OpenClModule::SaveToBytes() const {
  Writer writer;
  writer.Text(format_);
  writer.List(kernels_, [&](const Kernel& kernel) {
    const KernelInfo& info = kernel.info;
    writer.Text(info.name);
    writer.Text(info.name);
    writer.List(info.argument_types, [&](DLDataType type) {
      writer.Number(type.code);
      writer.Number(type.bits);
      writer.Number(type.lanes);
    });
    writer.List(info.launch_tags, [&](const std::string& tag) { writer.Text(tag); });
    writer.List(info.argument_tags, [&](int32_t tag) { writer.Number(tag); });
  });
  writer.Text(code_);
  return writer.Take();
}

ffi::String OpenClModule::InspectSource(const ffi::String&) const { return ffi::String(code_); }

ffi::Optional<ffi::Function> OpenClModule::GetFunction(const ffi::String& name) {
  for (const Kernel& kernel : kernels_) {
    if (name != kernel.info.name) continue;
    // The function keeps the module alive.
    ffi::ObjectPtr<ffi::Object> self = ffi::GetObjectPtr<ffi::Object>(this);
    return ffi::Function::FromPacked([self, this, &kernel](ffi::PackedArgs args, ffi::Any*) {
      try {
        Launch(kernel, args);
      } catch (const ffi::Error&) {
        throw;
      } catch (const std::exception& error) {
        TVM_FFI_THROW(RuntimeError) << error.what();
      }
    });
  }
  return std::nullopt;
}

void OpenClModule::Launch(const Kernel& kernel, ffi::PackedArgs args) {
  const std::vector<DLDataType>& types = kernel.info.argument_types;
  if (static_cast<size_t>(args.size()) != types.size() + kernel.extents.size()) {
    throw std::runtime_error("the kernel " + kernel.info.name + " takes " +
                             std::to_string(types.size() + kernel.extents.size()) +
                             " arguments, not " + std::to_string(args.size()));
  }
  size_t extents[6] = {1, 1, 1, 1, 1, 1};
  for (size_t i = 0; i < kernel.extents.size(); ++i) {
    extents[kernel.extents[i]] = args[types.size() + i].cast<int64_t>();
  }
  Range range{};
  for (size_t dimension = 0; dimension < 3; ++dimension) {
    range.local[dimension] = extents[3 + dimension];
    range.global[dimension] = extents[dimension] * extents[3 + dimension];
  }
  Device* device = nullptr;
  for (size_t i = 0; i < types.size() && device == nullptr; ++i) {
    if (types[i].code == kDLOpaqueHandle) {
      device = BufferOf(args[i]).device;
    }
  }
  if (device == nullptr) device = &GetDevice(OpenClDeviceApi::CurrentDevice());
  cl_kernel compiled = Compiled(kernel, device);
  device->Launch(compiled, range, [&] {
    const Api& api = GetApi();
    for (size_t i = 0; i < types.size(); ++i) {
      const auto set = [&](size_t size, const void* value) {
        device->Check(api.SetKernelArg(compiled, static_cast<cl_uint>(i), size, value),
                      "clSetKernelArg of " + kernel.info.name);
      };
      const size_t bytes = types[i].bits / 8;
      if (types[i].code == kDLOpaqueHandle) {
        set(sizeof(cl_mem), &BufferOf(args[i]).memory);
      } else if (types[i].code == kDLFloat && bytes == sizeof(float)) {
        const auto value = static_cast<float>(args[i].cast<double>());
        set(sizeof(value), &value);
      } else if (types[i].code == kDLFloat && bytes == sizeof(double)) {
        const auto value = args[i].cast<double>();
        set(sizeof(value), &value);
      } else if (types[i].code == kDLInt || types[i].code == kDLUInt) {
        // The low bytes come first.
        const auto value = args[i].cast<int64_t>();
        set(bytes, &value);
      } else {
        throw std::runtime_error("the kernel " + kernel.info.name +
                                 " takes a number of a type that is not passed to OpenCL");
      }
    }
  });
}

cl_kernel OpenClModule::Compiled(const Kernel& kernel, Device* device) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto key = std::make_pair(&kernel, device);
  const auto found = compiled_.find(key);
  if (found != compiled_.end()) return found->second;
  cl_kernel made = device->Compile(SourceOf(code_, kernel.info.name), kernel.info.name);
  compiled_.emplace(key, made);
  return made;
}

namespace {

ffi::Module Create(const ffi::Bytes& code, const ffi::String& format,
                   const ffi::Map<ffi::String, tvm::runtime::FunctionInfo>& functions,
                   const ffi::Map<ffi::String, ffi::String>&) {
  std::vector<KernelInfo> kernels;
  for (const auto& [name, function] : functions) {
    KernelInfo info;
    info.name = std::string(function->name);
    for (DLDataType type : function->arg_types) info.argument_types.push_back(type);
    for (const ffi::String& tag : function->launch_param_tags) {
      info.launch_tags.emplace_back(std::string(tag));
    }
    for (int tag : function->arg_extra_tags) info.argument_tags.push_back(tag);
    kernels.push_back(std::move(info));
  }
  try {
    return ffi::Module(ffi::make_object<OpenClModule>(
        std::string(format), std::string(code.data(), code.size()), std::move(kernels)));
  } catch (const std::exception& error) {
    TVM_FFI_THROW(RuntimeError) << error.what();
  }
  TVM_FFI_UNREACHABLE();
}

ffi::Module LoadTold(const ffi::Bytes& bytes) {
  try {
    return OpenClModule::Load(bytes);
  } catch (const std::exception& error) {
    TVM_FFI_THROW(RuntimeError) << error.what();
  }
  TVM_FFI_UNREACHABLE();
}

}  // namespace

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("ffi.Module.create.opencl", Create)
      .def("ffi.Module.load_from_bytes.opencl", LoadTold);
}

}  // namespace opencl
}  // namespace tdse
