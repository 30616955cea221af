// Reading a file at given places, and atomic writes.
#pragma once

#include <cstdint>
#include <filesystem>
#ifdef _WIN32
#include <fstream>
#include <mutex>
#endif
#include <string>

namespace soundspot::checkpoint {

/// A file open for reading.
class InputFile {
 public:
  /// @throws Error ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, or ERR_INPUT for a folder, a device or a file without
  /// permission.
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// In bytes, when it was opened.
  uint64_t size() const { return size_; }

  /// Bytes `offset … offset + bytes − 1` into `to`. Several threads may read at a time.
  /// @throws FormatError when the file does not have them.
  void read(uint64_t offset, void* to, uint64_t bytes);

  /// These bytes are read soon: the system may fetch them from the disk meanwhile.
  void expect(uint64_t offset, uint64_t bytes) const;

 private:
  void close();

#ifdef _WIN32
  std::ifstream stream_;
  std::mutex mutex_;
#else
  int descriptor_ = -1;
#endif
  uint64_t size_ = 0;
};

/// A file that grows at its end; made where it is missing.
class AppendedFile {
 public:
  /// @throws Error ERR_FILE_WRITE
  explicit AppendedFile(const std::string& path);
  ~AppendedFile();
  AppendedFile(const AppendedFile&) = delete;
  AppendedFile& operator=(const AppendedFile&) = delete;

  /// In bytes, of the file as it is now: where the next bytes will lie.
  /// @throws Error ERR_FILE_WRITE
  uint64_t size() const;

  /// The bytes are in the file when it returns; after a failure some of them may be.
  /// @throws Error ERR_FILE_WRITE with the file's name and the system's reason.
  void append(const void* data, uint64_t bytes);

 private:
  std::string name_;  // for messages
  int descriptor_ = -1;
};

/// A new file that takes its name only in `commit`; until then it is a temporary one in the same folder, which the
/// destructor removes. Every failure is Error ERR_FILE_WRITE with the file's name and the system's reason.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, uint64_t bytes);
  /// Forces the bytes to the disk, renames the file over `path`, and forces the folder's entry to the disk.
  void commit();

 private:
  [[noreturn]] void fail(int error) const;

  std::string name_;  // as the caller wrote it, for messages
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  bool committed_ = false;
};

}  // namespace soundspot::checkpoint
