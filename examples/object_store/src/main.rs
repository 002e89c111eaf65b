//! Pictures that lie in a bucket: a resolver that fetches `path` from an S3-compatible store, or from a local directory.
//!
//! ```text
//! cargo run --release --manifest-path examples/object_store/Cargo.toml -- --gallery G --directory MY_FOLDER
//! AWS_ACCESS_KEY_ID=.. AWS_SECRET_ACCESS_KEY=.. \
//!     cargo run --release --manifest-path examples/object_store/Cargo.toml -- --gallery G --bucket photos \
//!     --endpoint http://127.0.0.1:9000
//! ```
//!
//! Every picture below `--prefix` is added by its key, without being handed over: `Source::Resolve` has the library ask the
//! resolver, on the thread that decodes it. Then one of them is searched by, with a box: the box of a stored image needs its
//! pixels, and they come from the bucket again.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use futures_util::TryStreamExt;
use lookalike::{
    Add, BatchOptions, CreateInstance, Gallery, Instance, OnExisting, Query, Region, Resolver, SizeLimits,
    Source,
};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use tokio::runtime::Runtime;

/// Makes the pictures of a bucket searchable.
#[derive(Parser)]
struct Options {
    /// Where the gallery is kept.
    #[arg(long)]
    gallery: PathBuf,
    /// A local directory in place of a bucket.
    #[arg(long, conflicts_with = "bucket", required_unless_present = "bucket")]
    directory: Option<PathBuf>,
    /// The bucket. Keys and region are read from the environment, as other tools do: AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY, AWS_REGION.
    #[arg(long)]
    bucket: Option<String>,
    /// The store's address, if it is not Amazon's.
    #[arg(long)]
    endpoint: Option<String>,
    /// Only keys below it.
    #[arg(long)]
    prefix: Option<String>,
    /// Most bytes that are fetched of an object.
    #[arg(long, default_value_t = 64 << 20)]
    max_bytes: u64,
}

/// A store, and the threads that its requests run on. The library's own threads wait for them.
struct Bucket {
    store: Arc<dyn ObjectStore>,
    runtime: Runtime,
    max_bytes: u64,
}

impl Bucket {
    fn open(options: &Options) -> Result<Self, Box<dyn Error>> {
        let store: Arc<dyn ObjectStore> = match (&options.directory, &options.bucket) {
            (Some(directory), _) => Arc::new(LocalFileSystem::new_with_prefix(directory)?),
            (None, Some(bucket)) => {
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
                if let Some(endpoint) = &options.endpoint {
                    builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http:"));
                }
                Arc::new(builder.build()?)
            }
            (None, None) => return Err("a bucket or a directory is needed".into()),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { store, runtime, max_bytes: options.max_bytes })
    }

    /// Keys of pictures, in their order.
    fn keys(&self, prefix: Option<&str>) -> Result<Vec<String>, object_store::Error> {
        let prefix = prefix.map(Path::from);
        let listed = self.store.list(prefix.as_ref());
        let objects: Vec<ObjectMeta> = self.runtime.block_on(listed.try_collect())?;
        let mut keys: Vec<String> = objects.into_iter().map(|object| object.location.to_string()).collect();
        keys.retain(|key| {
            let key = key.to_ascii_lowercase();
            [".jpg", ".jpeg", ".png", ".bmp"].iter().any(|end| key.ends_with(end))
        });
        keys.sort_unstable();
        Ok(keys)
    }
}

impl Resolver for Bucket {
    /// Called from whichever thread works on the picture; that thread waits here. What goes wrong reaches the caller as the
    /// source of an error with IS.2000.
    fn resolve(&self, path: &str) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        // Refuses what is no key, `..` among it.
        let key = Path::parse(path)?;
        self.runtime.block_on(async {
            let found = self.store.get(&key).await?;
            // Its length is known before its bytes are fetched.
            if found.meta.size > self.max_bytes {
                return Err(
                    format!("{} bytes; at most {} are fetched", found.meta.size, self.max_bytes).into()
                );
            }
            Ok(found.bytes().await?.to_vec())
        })
    }
}

/// So that the gallery and the listing share one bucket.
struct Shared(Arc<Bucket>);

impl Resolver for Shared {
    fn resolve(&self, path: &str) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        self.0.resolve(path)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let (instance, keys) = fill(&options)?;
    println!("{} pictures", instance.len()?);
    if let Some(key) = keys.iter().find(|key| instance.check(key).unwrap_or(false)) {
        let query = Query::path(key).region(Region::from_origin(20, 20)).limit(3);
        for hit in instance.search(&query)?.hits {
            println!("{:.3} {}", hit.sim.unwrap_or_default(), hit.path);
        }
    }
    Ok(())
}

/// Adds what is in the bucket and not in the instance yet.
fn fill(options: &Options) -> Result<(Instance, Vec<String>), Box<dyn Error>> {
    let bucket = Arc::new(Bucket::open(options)?);
    let keys = bucket.keys(options.prefix.as_deref())?;
    let gallery = Gallery::builder(&options.gallery).resolver(Shared(bucket)).size_limits(SizeLimits::any());
    let instance = gallery.open()?.open_or_create(&CreateInstance::new("pictures", "common-search"))?;
    let add = |key| Add::new(key, Source::Resolve).on_existing(OnExisting::Keep);
    let adds: Vec<Add<'_>> = keys.iter().map(add).collect();
    for (key, added) in keys.iter().zip(instance.add_batch(&adds, &BatchOptions::new())) {
        if let Err(error) = added {
            println!("Skipped {key}: {error:#}");
        }
    }
    Ok((instance, keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_a_bucket() {
        let dir = tempfile::tempdir().unwrap();
        let pictures = dir.path().join("pictures");
        std::fs::create_dir_all(pictures.join("sub")).unwrap();
        let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../pictures");
        std::fs::copy(shipped.join("cat.jpg"), pictures.join("sub/cat.jpg")).unwrap();
        std::fs::copy(shipped.join("rocket.jpg"), pictures.join("rocket.jpg")).unwrap();
        std::fs::write(pictures.join("none.png"), b"no picture").unwrap();
        std::fs::write(dir.path().join("secret.jpg"), std::fs::read(shipped.join("cat.jpg")).unwrap())
            .unwrap();
        let options = Options::parse_from([
            "test",
            "--gallery",
            dir.path().join("gallery").to_str().unwrap(),
            "--directory",
            pictures.to_str().unwrap(),
            "--max-bytes",
            "100000",
        ]);
        let (instance, keys) = fill(&options).unwrap();
        assert_eq!(keys, ["none.png", "rocket.jpg", "sub/cat.jpg"]);
        let there: Vec<bool> = keys.iter().map(|key| instance.check(key).unwrap()).collect();
        assert_eq!(there, [false, true, true]);
        // Its pixels come from the store again.
        let query = Query::path("sub/cat.jpg").region(Region::new(100, 20, 200, 150));
        assert_eq!(instance.search(&query).unwrap().hits[0].path, "sub/cat.jpg");
        for path in ["../secret.jpg", "missing.jpg"] {
            let refused = instance.add(&Add::new(path, Source::Resolve)).unwrap_err();
            assert_eq!(refused.code().as_str(), "IS.2000", "{path}");
        }
        // Too long to be fetched.
        std::fs::write(pictures.join("long.jpg"), vec![0; 100_001]).unwrap();
        let refused = instance.add(&Add::new("long.jpg", Source::Resolve)).unwrap_err();
        assert!(format!("{refused:#}").contains("at most 100000"), "{refused:#}");
    }
}
