// A small wrapper of LMDB that throws where LMDB returns an error code.
//
// The file names, and the names that storage-service-cxx calls, are those of the real lmdb-safe, so that either builds it.
#pragma once

#include <lmdb.h>

#include <memory>
#include <string>

/// A database inside an environment. LMDB never needs it closed.
struct MDBDbi {
    MDB_dbi handle = 0;
};

/// Bytes that go in. They are not copied: the string has to outlive the call.
struct MDBInVal {
    MDBInVal(const std::string& bytes) : value{bytes.size(), const_cast<char*>(bytes.data())} {}
    MDB_val value;
};

/// Bytes that come out. They are LMDB's, until the transaction ends; get<std::string>() copies them.
struct MDBOutVal {
    template <class T>
    T get() const {
        return T(static_cast<const char*>(value.mv_data), value.mv_size);
    }
    MDB_val value{0, nullptr};
};

/// Ends with an abort unless it was committed.
class MDBROTransaction {
public:
    explicit MDBROTransaction(MDB_env* env, unsigned flags = MDB_RDONLY);
    MDBROTransaction(MDBROTransaction&& other) noexcept : txn_(other.txn_) { other.txn_ = nullptr; }
    MDBROTransaction& operator=(MDBROTransaction&&) = delete;
    ~MDBROTransaction() { abort(); }

    /// 0, or MDB_NOTFOUND.
    int get(const MDBDbi& dbi, const MDBInVal& key, MDBOutVal& value);
    void abort() noexcept;

protected:
    MDB_txn* txn_ = nullptr;
};

class MDBRWTransaction : public MDBROTransaction {
public:
    explicit MDBRWTransaction(MDB_env* env) : MDBROTransaction(env, 0) {}
    void put(const MDBDbi& dbi, const MDBInVal& key, const MDBInVal& value);
    void commit();
};

class MDBEnv {
public:
    MDBEnv(const char* directory, int flags, int mode);
    MDBEnv(const MDBEnv&) = delete;
    MDBEnv& operator=(const MDBEnv&) = delete;
    ~MDBEnv() { mdb_env_close(env_); }

    MDBDbi openDB(const std::string& name, int flags);
    MDBROTransaction getROTransaction() { return MDBROTransaction(env_); }
    MDBRWTransaction getRWTransaction() { return MDBRWTransaction(env_); }

private:
    MDB_env* env_ = nullptr;
};

/// Opens the environment in a directory that exists. LMDB allows one open environment a directory and process.
std::shared_ptr<MDBEnv> getMDBEnv(const char* directory, int flags, int mode);
