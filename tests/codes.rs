//! One test per code that the library raises, checked against the table: none can be forgotten.

use std::io::ErrorKind as Io;
use std::sync::{Arc, OnceLock, mpsc};

use lookalike::testing::DiskCall;
use lookalike::{
    Add, Code, CreateInstance, Delete, EmbedError, Embedder, Embedding, Error, Gallery, OnExisting, Query,
    RaisedBy, Region, Source, Tags, Update, View,
};

use crate::bed::{Bed, add, bmp, find, flip, shipped, shoes};

macro_rules! raised {
    ($($name:ident $code:ident $body:block)*) => {
        $(#[test]
        fn $name() {
            let error: Error = $body;
            assert_eq!(error.code(), Code::$code, "{error:?}");
            assert!(error.to_string().starts_with(Code::$code.as_str()), "{error}");
        })*

        const RAISED: &[Code] = &[$(Code::$code),*];
    };
}

#[test]
fn every_code_of_the_library_is_raised_by_a_test() {
    let missing: Vec<&Code> = Code::ALL
        .iter()
        .filter(|code| code.raised_by() == RaisedBy::Library && !RAISED.contains(code))
        .collect();
    assert!(missing.is_empty(), "no test raises {missing:?}");
    let foreign: Vec<&Code> = RAISED
        .iter()
        .filter(|code| !matches!(code.raised_by(), RaisedBy::Library | RaisedBy::Extension))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?} are not the library's to raise");
    let library = Code::ALL.iter().filter(|code| code.raised_by() == RaisedBy::Library).count();
    assert_eq!(library, 54);
    println!("{} codes raised", RAISED.len());
}

fn create(name: &str, model: &str) -> CreateInstance {
    CreateInstance::new(name, model)
}

fn create_error(request: CreateInstance) -> Error {
    Bed::new().gallery.create(&request).unwrap_err()
}

fn add_error(add: &Add<'_>) -> Error {
    shoes().add(add).unwrap_err()
}

fn picture_error(bytes: &[u8]) -> Error {
    add_error(&Add::new("a", Source::bytes(bytes)))
}

fn search_error(query: &Query<'_>) -> Error {
    shoes().search(query).unwrap_err()
}

/// A gallery whose instance `shoes` holds `img-1` and `img-2` in a segment, closed.
fn sealed() -> Bed {
    let bed = Bed::new();
    let shoes = bed.shoes();
    add(&shoes, "img-1", [200, 10, 10]);
    add(&shoes, "img-2", [10, 200, 10]);
    shoes.optimize().unwrap();
    bed
}

/// A model that does what it is told.
struct Told {
    version: u32,
    blocks: Vec<usize>,
    ready: Box<dyn Fn() -> Result<(), EmbedError> + Send + Sync>,
    embed: Box<dyn Fn() -> Vec<f32> + Send + Sync>,
}

impl Default for Told {
    fn default() -> Self {
        let (ready, embed) = (Box::new(|| Ok(())), Box::new(|| vec![1.0, 2.0]));
        Self { version: 1, blocks: vec![2], ready, embed }
    }
}

impl Embedder for Told {
    fn name(&self) -> &str {
        "told"
    }
    fn version(&self) -> u32 {
        self.version
    }
    fn blocks(&self) -> &[usize] {
        &self.blocks
    }
    fn ready(&self) -> Result<(), EmbedError> {
        (self.ready)()
    }
    fn embed(&self, _view: View<'_>) -> Result<Embedding, EmbedError> {
        Ok(Embedding { vector: (self.embed)(), hash: None })
    }
}

/// What opening an instance of the model `told` gives in a gallery with another `told`, or none.
fn opened_with(told: Option<Told>) -> Error {
    let bed = Bed::with(|b| b.model(Told::default()));
    bed.gallery.create(&create("a", "told")).unwrap();
    let builder = Gallery::builder(bed.root());
    let other = match told {
        Some(told) => builder.model(told),
        None => builder,
    };
    other.open().unwrap().instance("a").unwrap_err()
}

/// What `call` gives while an instance `a` is being created: it runs when the model is asked to be ready.
fn while_created(call: impl Fn(&Gallery) -> Error + Send + Sync + 'static) -> Error {
    let (send, errors) = mpsc::channel();
    let gallery: Arc<OnceLock<Gallery>> = Arc::default();
    let inner = gallery.clone();
    let ready = Box::new(move || {
        if let Some(gallery) = inner.get() {
            assert_eq!(gallery.describe("a").unwrap().status, lookalike::Status::Creation);
            send.send(call(gallery)).unwrap();
        }
        Ok(())
    });
    let bed = Bed::with(|b| b.model(Told { ready, ..Told::default() }));
    let _ = gallery.set(bed.gallery.clone());
    bed.gallery.create(&create("a", "told")).unwrap();
    errors.recv().unwrap()
}

raised! {
    is_0001_create_without_model ParameterMissing { create_error(create("a", "")) }
    is_0001_create_without_name ParameterMissing { create_error(create("", "average")) }
    is_0001_crop_without_box ParameterMissing {
        search_error(&Query::image(bmp(100, 100, [1; 3])).is_crop(true))
    }
    is_0007_create InstanceNameInvalid { create_error(create("Shoes", "average")) }
    is_0007_open InstanceNameInvalid { Bed::new().gallery.instance("../shoes").unwrap_err() }
    is_0007_describe InstanceNameInvalid { Bed::new().gallery.describe("a b").unwrap_err() }
    is_0007_delete InstanceNameInvalid { Bed::new().gallery.delete("1a").unwrap_err() }
    is_0009_list Internal {
        let bed = Bed::new();
        bed.disk.fail(DiskCall::List, "root", Io::PermissionDenied);
        bed.gallery.list().unwrap_err()
    }
    is_0012_batch_called_off TimedOut {
        let cancel = std::sync::atomic::AtomicBool::new(true);
        let adds = [Add::new("a", Source::vector(vec![1.0; 4]))];
        let options = lookalike::BatchOptions::new().cancel(&cancel);
        shoes().add_batch(&adds, &options).pop().unwrap().unwrap_err()
    }
    is_0014_damaged_instance_takes_no_adds InstanceAbnormal {
        let bed = sealed();
        flip(&bed.file("seg-"), 0);
        let shoes = bed.gallery.instance("shoes").unwrap();
        assert!(shoes.search(&Query::vector(vec![1.0; 4])).is_err());
        assert_eq!(bed.gallery.describe("shoes").unwrap().status, lookalike::Status::Abnormal);
        shoes.add(&Add::new("a", Source::vector(vec![1.0; 4]))).unwrap_err()
    }
    is_0014_instance_being_created InstanceAbnormal {
        while_created(|gallery| gallery.instance("a").unwrap_err())
    }
    is_0015_model_file_missing ModelFileMissing {
        let ready = Box::new(|| Err(EmbedError::FileMissing("weights.bin".into())));
        Bed::with(|b| b.model(Told { ready, ..Told::default() })).gallery.create(&create("a", "told")).unwrap_err()
    }
    is_0016_add PathInvalid { add_error(&Add::new("a\0b", Source::vector(vec![1.0; 4]))) }
    is_0016_check PathInvalid { shoes().check(&"a".repeat(4097)).unwrap_err() }
    is_0016_update PathInvalid { shoes().update(&Update::new("\n", Tags::new())).unwrap_err() }
    is_0016_delete PathInvalid { shoes().delete("\t").unwrap_err() }
    is_0016_search PathInvalid { search_error(&Query::path("a\u{7f}")) }
    is_1002_add TagValueMissing { add_error(&Add::new("a", Source::vector(vec![1.0; 4])).tag("color", "")) }
    is_1002_search TagValueMissing { search_error(&Query::tags(Tags::new().with_values("color", [""; 0]))) }
    is_1003_add TooManyTags {
        let tags: Tags = (0..11).map(|i| (format!("k{i}"), "v")).collect();
        add_error(&Add::new("a", Source::vector(vec![1.0; 4])).tags(tags))
    }
    is_1003_update TooManyTags {
        let tags: Tags = (0..11).map(|i| (format!("k{i}"), "v")).collect();
        shoes().update(&Update::new("a", tags)).unwrap_err()
    }
    is_1004_add TagUnknown { add_error(&Add::new("a", Source::vector(vec![1.0; 4])).tag("size", "42")) }
    is_1004_search TagUnknown { search_error(&Query::tags(Tags::from([("size", "42")]))) }
    is_1005_exists AddRefused {
        let shoes = shoes();
        let request = Add::new("a", Source::vector(vec![1.0; 4])).on_existing(OnExisting::Fail);
        shoes.add(&request).unwrap();
        shoes.add(&request).unwrap_err()
    }
    is_1005_dimensions AddRefused { add_error(&Add::new("a", Source::vector(vec![1.0; 5]))) }
    is_1005_not_finite AddRefused { add_error(&Add::new("a", Source::vector(vec![f32::NAN; 4]))) }
    is_1006_delete DeleteRefused { shoes().delete("nobody").unwrap_err() }
    is_1007_update UpdateRefused {
        shoes().update(&Update::new("nobody", Tags::from([("color", "red")]))).unwrap_err()
    }
    is_1008_box SearchRefused {
        search_error(&Query::image(bmp(100, 100, [1; 3])).region(Region::new(90, 90, 11, 10)))
    }
    is_1008_dimensions SearchRefused { search_error(&Query::vector(vec![1.0; 3])) }
    is_1008_min_sim SearchRefused { search_error(&Query::vector(vec![1.0; 4]).min_sim(f32::NAN)) }
    is_1010_none LimitInvalid { search_error(&Query::vector(vec![1.0; 4]).limit(0)) }
    is_1010_too_many LimitInvalid { search_error(&Query::vector(vec![1.0; 4]).limit(101)) }
    is_1015_add InstanceFull {
        let bed = Bed::new();
        bed.gallery.create(&create("small", "average").capacity(1)).unwrap();
        let small = bed.gallery.instance("small").unwrap();
        add(&small, "a", [1; 3]);
        // Replacing is allowed in a full instance.
        add(&small, "a", [2; 3]);
        small.add(&Add::new("b", Source::vector(vec![1.0; 4]))).unwrap_err()
    }
    is_2000_add_without_resolver PictureUnavailable { add_error(&Add::new("a", Source::Resolve)) }
    is_2000_empty_file_counts_as_none PictureUnavailable { add_error(&Add::new("a", Source::bytes(&[][..]))) }
    is_2000_resolver_fails PictureUnavailable {
        let bed = Bed::with(|b| b.resolver(|_: &str| Err("no such object".into())));
        bed.shoes().add(&Add::new("a", Source::Resolve)).unwrap_err()
    }
    is_2000_resolver_panics PictureUnavailable {
        let bed = Bed::with(|b| b.resolver(|_: &str| panic!("a bug of the host")));
        bed.shoes().add(&Add::new("a", Source::Resolve)).unwrap_err()
    }
    is_2000_search_unknown_path PictureUnavailable { search_error(&Query::path("nobody")) }
    is_2000_box_of_a_stored_image PictureUnavailable {
        let shoes = shoes();
        add(&shoes, "a", [1; 3]);
        shoes.search(&Query::path("a").region(Region::new(0, 0, 20, 50))).unwrap_err()
    }
    is_2001_gif FormatUnsupported { picture_error(b"GIF89a\x80\0\x80\0\0\0\0") }
    is_2002_cut_jpeg PictureDamaged {
        let jpeg = shipped("cat.jpg");
        picture_error(&jpeg[..jpeg.len() * 6 / 10])
    }
    is_2002_cut_bmp PictureDamaged { picture_error(&bmp(100, 100, [1; 3])[..9000]) }
    is_2005_segment_not_written TemporaryFileNotSaved {
        let bed = Bed::with(|b| b.tail_rows(2));
        let shoes = bed.shoes();
        add(&shoes, "a", [1; 3]);
        add(&shoes, "b", [2; 3]);
        bed.disk.fail(DiskCall::Create, "tmp-seg", Io::StorageFull);
        let error = shoes.add(&Add::new("c", Source::vector(vec![1.0; 4]))).unwrap_err();
        assert_eq!(error.kind(), lookalike::ErrorKind::DiskFull);
        // Deleting goes on, and adding once there is room.
        shoes.delete("a").unwrap();
        bed.disk.heal();
        add(&shoes, "c", [3; 3]);
        assert!(shoes.check("c").unwrap() && !shoes.check("a").unwrap());
        error
    }
    is_2006_row_damaged ImageNotIndexed {
        let bed = sealed();
        flip(&bed.file("seg-"), 0);
        bed.gallery.instance("shoes").unwrap().search(&Query::path("img-1")).unwrap_err()
    }
    is_2009_update_without_tags TagsRequired {
        let shoes = shoes();
        add(&shoes, "a", [1; 3]);
        shoes.update(&Update::new("a", Tags::new())).unwrap_err()
    }
    is_2012_add PathEmpty { add_error(&Add::new("", Source::vector(vec![1.0; 4]))) }
    is_2012_check PathEmpty { shoes().check("").unwrap_err() }
    is_2012_update PathEmpty {
        shoes().update(&Update::new("", Tags::from([("color", "red")]))).unwrap_err()
    }
    is_2012_delete PathEmpty { shoes().delete(Delete::new("").if_exists()).unwrap_err() }
    is_2013_empty_path PathAndFileEmpty { search_error(&Query::path("")) }
    is_2013_empty_file PathAndFileEmpty { search_error(&Query::image(&[][..])) }
    is_2014_instance_directory DirectoryNotCreated {
        let bed = Bed::new();
        bed.disk.fail(DiskCall::CreateDirs, "tmp-create-a", Io::PermissionDenied);
        bed.gallery.create(&create("a", "average")).unwrap_err()
    }
    is_2014_gallery_directory DirectoryNotCreated {
        let bed = Bed::new();
        std::fs::write(bed.dir.path().join("file"), b"").unwrap();
        Gallery::open(bed.dir.path().join("file")).unwrap_err()
    }
    is_2015_nothing_asked PathOrFileRequired { search_error(&Query::tags(Tags::new())) }
    is_2019_deleted_instance InstanceMissing {
        let bed = Bed::new();
        let shoes = bed.shoes();
        bed.gallery.delete("shoes").unwrap();
        for error in [
            shoes.check("a").unwrap_err(),
            shoes.delete("a").unwrap_err(),
            shoes.search(&Query::path("a")).unwrap_err(),
            shoes.update(&Update::new("a", Tags::from([("color", "red")]))).unwrap_err(),
        ] {
            assert_eq!(error.code(), Code::InstanceMissing);
        }
        shoes.add(&Add::new("a", Source::vector(vec![1.0; 4]))).unwrap_err()
    }
    is_2019_closed_instance InstanceMissing {
        let shoes = shoes();
        shoes.close();
        shoes.len().unwrap_err()
    }
    is_2100_log_not_written AddFailed {
        let bed = Bed::new();
        let shoes = bed.shoes();
        bed.disk.fail(DiskCall::Write, "log-", Io::StorageFull);
        let error = shoes.add(&Add::new("a", Source::vector(vec![1.0; 4]))).unwrap_err();
        assert!(!shoes.check("a").unwrap());
        // A failed write is undone, and writing goes on.
        bed.disk.heal();
        add(&shoes, "b", [1; 3]);
        drop(shoes);
        let shoes = bed.gallery.instance("shoes").unwrap();
        assert_eq!((shoes.len().unwrap(), shoes.check("b").unwrap()), (1, true));
        error
    }
    is_2101_log_not_written DeleteFailed {
        let bed = Bed::new();
        let shoes = bed.shoes();
        add(&shoes, "a", [1; 3]);
        bed.disk.fail(DiskCall::Write, "log-", Io::Other);
        let error = shoes.delete("a").unwrap_err();
        assert!(shoes.check("a").unwrap());
        error
    }
    is_2102_row_damaged SearchFailed {
        let bed = sealed();
        flip(&bed.file("seg-"), 0);
        let error = bed.gallery.instance("shoes").unwrap().search(&Query::vector(vec![1.0; 4])).unwrap_err();
        assert!(error.is_corruption() && error.to_string().contains("seg-00000001 is damaged at byte 0"), "{error}");
        error
    }
    is_2103_path_damaged CheckFailed {
        let bed = sealed();
        let file = bed.file("seg-");
        flip(&file, find(&file, b"img-1"));
        bed.gallery.instance("shoes").unwrap().check("img-1").unwrap_err()
    }
    is_2104_log_not_written UpdateFailed {
        let bed = Bed::new();
        let shoes = bed.shoes();
        add(&shoes, "a", [1; 3]);
        bed.disk.fail(DiskCall::Write, "log-", Io::Other);
        shoes.update(&Update::new("a", Tags::from([("color", "red")]))).unwrap_err()
    }
    is_2105_second_writer ServiceNotRunning {
        let bed = Bed::new();
        let _shoes = bed.shoes();
        Gallery::builder(bed.root()).model(crate::bed::Average).open().unwrap().instance("shoes").unwrap_err()
    }
    is_2105_after_a_failed_sync ServiceNotRunning {
        let bed = Bed::new();
        let shoes = bed.shoes();
        add(&shoes, "a", [1; 3]);
        bed.disk.fail(DiskCall::Sync, "log-", Io::Other);
        assert_eq!(shoes.delete("a").unwrap_err().code(), Code::DeleteFailed);
        bed.disk.heal();
        // Never retried: what is on disk is unknown until the log is read again.
        shoes.delete("a").unwrap_err()
    }
    is_2105_read_only ServiceNotRunning {
        let bed = Bed::new();
        drop(bed.shoes());
        let reader = Gallery::builder(bed.root()).model(crate::bed::Average).read_only().open().unwrap();
        reader.instance("shoes").unwrap().delete("a").unwrap_err()
    }
    is_2106_too_wide PictureTooLarge { picture_error(&bmp(2049, 100, [1; 3])) }
    is_2106_too_wide_and_too_narrow PictureTooLarge { picture_error(&bmp(2049, 99, [1; 3])) }
    is_2107_too_narrow PictureTooSmall { picture_error(&bmp(100, 99, [1; 3])) }
    is_2108_model_panics FeaturesFailed {
        let embed = Box::new(|| panic!("a bug of the model"));
        let bed = Bed::with(|b| b.model(Told { embed, ..Told::default() }));
        bed.gallery.create(&create("a", "told")).unwrap();
        let picture = Source::bytes(bmp(100, 100, [1; 3]));
        bed.gallery.instance("a").unwrap().add(&Add::new("a", picture)).unwrap_err()
    }
    is_2108_model_gives_nan FeaturesFailed {
        let embed = Box::new(|| vec![1.0, f32::NAN]);
        let bed = Bed::with(|b| b.model(Told { embed, ..Told::default() }));
        bed.gallery.create(&create("a", "told")).unwrap();
        let picture = bmp(100, 100, [1; 3]);
        bed.gallery.instance("a").unwrap().search(&Query::image(picture)).unwrap_err()
    }
    is_2109_segment_missing GalleryUnreachable {
        let bed = sealed();
        std::fs::remove_file(bed.file("seg-")).unwrap();
        bed.gallery.instance("shoes").unwrap_err()
    }
    is_2109_segment_not_mapped GalleryUnreachable {
        let bed = sealed();
        bed.disk.fail(DiskCall::Map, "seg-", Io::PermissionDenied);
        bed.gallery.instance("shoes").unwrap_err()
    }
    is_3000_create InstanceExists {
        let bed = Bed::new();
        let _shoes = bed.shoes();
        bed.gallery.create(&create("shoes", "average")).unwrap_err()
    }
    is_3001_manifest_not_written InformationNotSaved {
        let bed = Bed::new();
        bed.disk.fail(DiskCall::Write, "tmp-manifest", Io::StorageFull);
        let error = bed.gallery.create(&create("a", "average")).unwrap_err();
        bed.disk.heal();
        assert!(bed.gallery.list().unwrap().is_empty());
        bed.gallery.create(&create("a", "average")).unwrap();
        error
    }
    is_3001_tag_keys_not_saved InformationNotSaved {
        let bed = Bed::new();
        let shoes = bed.shoes();
        bed.disk.fail(DiskCall::Write, "tmp-manifest", Io::StorageFull);
        let error = shoes.add_tag_keys(&["size"]).unwrap_err();
        assert_eq!(shoes.tag_keys().unwrap(), ["color", "kind"]);
        error
    }
    is_3003_files_not_removed InstanceNotDeleted {
        let bed = Bed::new();
        drop(bed.shoes());
        bed.disk.fail(DiskCall::RemoveFile, "tmp-delete-shoes", Io::PermissionDenied);
        let error = bed.gallery.delete("shoes").unwrap_err();
        bed.disk.heal();
        // It is gone all the same, and the next opening removes what is left.
        assert!(bed.gallery.list().unwrap().is_empty());
        Gallery::open(bed.root()).unwrap();
        assert_eq!(std::fs::read_dir(bed.root()).unwrap().count(), 0);
        error
    }
    is_3004_model_of_another_version ModelUnusable { opened_with(Some(Told { version: 2, ..Told::default() })) }
    is_3004_model_of_other_dimensions ModelUnusable {
        opened_with(Some(Told { blocks: vec![3], ..Told::default() }))
    }
    is_3004_model_unusable ModelUnusable {
        let ready = Box::new(|| Err(EmbedError::Unusable("damaged weights".into())));
        Bed::with(|b| b.model(Told { ready, ..Told::default() })).gallery.create(&create("a", "told")).unwrap_err()
    }
    is_3005_open InstanceUnknown { Bed::new().gallery.instance("nobody").unwrap_err() }
    is_3005_describe InstanceUnknown { Bed::new().gallery.describe("nobody").unwrap_err() }
    is_3005_delete InstanceUnknown { Bed::new().gallery.delete("nobody").unwrap_err() }
    is_3008_log_damaged InstanceNotStarted {
        let bed = Bed::new();
        let shoes = bed.shoes();
        add(&shoes, "img-1", [1; 3]);
        add(&shoes, "img-2", [2; 3]);
        drop(shoes);
        let log = bed.file("log-");
        flip(&log, find(&log, b"img-1"));
        let error = bed.gallery.instance("shoes").unwrap_err();
        assert!(error.is_corruption(), "{error:?}");
        error
    }
    is_3011_manifest_damaged ConfigurationUnreadable {
        let bed = Bed::new();
        drop(bed.shoes());
        flip(&bed.file("manifest-"), 60);
        bed.gallery.instance("shoes").unwrap_err()
    }
    is_3011_newer_format ConfigurationUnreadable {
        let bed = Bed::new();
        drop(bed.shoes());
        let manifest = bed.file("manifest-");
        let mut bytes = std::fs::read(&manifest).unwrap();
        bytes[8] = 99;
        // A newer version makes its checksum in its own way; with ours still right it would be a damaged byte.
        bytes[12] ^= 0x55;
        std::fs::write(&manifest, bytes).unwrap();
        let error = bed.gallery.instance("shoes").unwrap_err();
        assert!(error.to_string().contains("format 99"), "{error}");
        error
    }
    is_3011_older_format ConfigurationUnreadable {
        let bed = Bed::new();
        drop(bed.shoes());
        let manifest = bed.file("manifest-");
        let mut bytes = std::fs::read(&manifest).unwrap();
        bytes[8] = 1;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[..12]);
        crc.update(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.finalize().to_le_bytes());
        std::fs::write(&manifest, &bytes).unwrap();
        let error = bed.gallery.instance("shoes").unwrap_err();
        assert_eq!((error.kind(), error.is_corruption()), (lookalike::ErrorKind::Unsupported, false), "{error}");
        assert!(error.to_string().contains("format 1;"), "{error}");
        // Nothing is lost: the version that wrote it can still read it.
        assert_eq!(std::fs::read(&manifest).unwrap(), bytes);
        error
    }
    is_3013_manifest_damaged InstanceNotObtained {
        let bed = Bed::new();
        drop(bed.shoes());
        flip(&bed.file("manifest-"), 60);
        let list = bed.gallery.list().unwrap();
        assert_eq!((list.len(), list[0].status), (1, lookalike::Status::Abnormal));
        let error = bed.gallery.describe("shoes").unwrap_err();
        // What is damaged can be deleted.
        bed.gallery.delete("shoes").unwrap();
        error
    }
    is_3014_create ModelUnknown { create_error(create("a", "furniture-search")) }
    is_3024_create TooManyInstanceTags { create_error(create("a", "average").tags((0..11).map(|i| i.to_string()))) }
    is_3024_add_tag_keys TooManyInstanceTags { shoes().add_tag_keys(&["x"; 9]).unwrap_err() }
    is_3025_remove_tag_key InstanceTagNotDeletable { shoes().remove_tag_key("color").unwrap_err() }
    is_3026_capital InstanceTagNotAdded { create_error(create("a", "average").tags(["Color"])) }
    is_3026_empty InstanceTagNotAdded { create_error(create("a", "average").tags([""])) }
    is_3026_repeated InstanceTagNotAdded { shoes().add_tag_keys(&["color"]).unwrap_err() }
    is_3028_not_renamed InstanceNotCreated {
        let bed = Bed::new();
        bed.disk.fail(DiskCall::Rename, "root/a", Io::PermissionDenied);
        bed.gallery.create(&create("a", "average")).unwrap_err()
    }
    is_3029_model_not_registered InstanceModelNotObtained { opened_with(None) }
    is_3030_delete_while_being_created InstanceBeingCreated {
        while_created(|gallery| gallery.delete("a").unwrap_err())
    }
    is_3032_open_while_being_deleted InstanceBeingDeleted {
        let bed = Bed::new();
        drop(bed.shoes());
        let (send, errors) = mpsc::channel();
        let gallery = bed.gallery.clone();
        bed.disk.before(DiskCall::RemoveFile, "tmp-delete", move || {
            assert_eq!(gallery.describe("shoes").unwrap().status, lookalike::Status::Deleting);
            send.send(gallery.instance("shoes").unwrap_err()).unwrap();
        });
        bed.gallery.delete("shoes").unwrap();
        errors.recv().unwrap()
    }
    is_3035_create LevelInvalid { create_error(create("a", "average").level(1_000_000)) }
    is_3036_create DescriptionTooLong { create_error(create("a", "average").description("\u{e4}".repeat(513))) }
}
