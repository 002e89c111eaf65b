//! The service's error codes: one table, from which the enum, its texts and its classes are made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose fault an error is: [`Code::fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The request: the caller can mend it.
    Caller,
    /// The picture.
    Data,
    /// This library, or files of an instance that are damaged.
    Engine,
    /// What the library runs on: the disk, another process, a remote service.
    Environment,
}

/// Where a code of the service can come from in this project: [`Code::raised_by`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RaisedBy {
    /// The library raises it, and a test shows it.
    Library,
    /// The library raises it once the extension it belongs to is there.
    Extension,
    /// Kept free: another code of the table says the same.
    Reserved,
    /// Only the JSON form of the requests can raise it.
    Json,
    /// Only an HTTP server can raise it.
    Rest,
    /// It cannot happen in a library: it belongs to the cloud around the service.
    Never,
}

macro_rules! codes {
    ($($number:literal $name:ident $fault:ident $by:ident $meaning:literal, $remedy:literal;)*) => {
        /// A code of the ImageSearch service, `IS.0001` to `IS.4006`.
        ///
        /// The numbers are the service's; the words are this library's (the service itself shows several
        /// wordings for one code). Match on the code, never on a message.
        ///
        /// ```
        /// use lookalike::{Code, Fault, RaisedBy, UnknownCode};
        ///
        /// let code = Code::PictureTooSmall;
        /// assert_eq!((code.as_str(), "IS.2107".parse()), ("IS.2107", Ok(code)));
        /// assert_eq!((code.meaning(), code.remedy()), ("image too small", "at least 100 x 100"));
        /// assert_eq!((code.fault(), code.raised_by()), (Fault::Data, RaisedBy::Library));
        /// assert_eq!("IS.9999".parse::<Code>(), Err(UnknownCode));
        /// // Those that a program which links the library never meets.
        /// assert!(Code::ALL.iter().filter(|code| code.raised_by() == RaisedBy::Never).count() > 30);
        /// ```
        #[allow(clippy::zero_prefixed_literal, reason = "the service writes its codes with four digits")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("IS.", stringify!($number), ": ", $meaning, ". Remedy: ", $remedy, ".")]
            $name = $number,)*
        }

        impl Code {
            /// Every code, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code as the service writes it, for example `IS.2107`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => concat!("IS.", stringify!($number)),)* }
            }

            /// What went wrong, in a few words.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What the caller can do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }

            /// Whose fault it is.
            pub fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)* }
            }

            /// What can raise it.
            pub fn raised_by(self) -> RaisedBy {
                match self { $(Self::$name => RaisedBy::$by,)* }
            }
        }
    };
}

codes! {
    0001 ParameterMissing Caller Library "a parameter is missing or empty", "check the parameters";
    0002 ParameterType Caller Json "a parameter has an unsupported type", "check the parameters";
    0003 ParameterEmpty Caller Json "a parameter must not be empty", "check the parameters";
    0004 TokenRejected Caller Rest "token verification failed", "use a current token";
    0005 HeaderMissing Caller Rest "header missing or empty", "check headers";
    0006 BodyTooLarge Caller Json "request body too large", "shrink it";
    0007 InstanceNameInvalid Caller Library "instance name invalid", "correct the name";
    0008 BodyNotJson Caller Json "body is not valid JSON", "fix the JSON";
    0009 Internal Engine Library "internal failure", "see the service message";
    0010 MethodNotAllowed Caller Rest "HTTP method not allowed", "use an allowed one";
    0011 MethodForbidden Caller Rest "user may not use this method", "grant rights or change user";
    0012 TimedOut Caller Extension "timed out", "check the service runs";
    0013 TokenEmpty Caller Rest "token is empty", "give a token";
    0014 InstanceAbnormal Engine Library "instance status abnormal", "check the status";
    0015 ModelFileMissing Caller Library "model file does not exist", "check the file";
    0016 PathInvalid Caller Library "path invalid", "check the path";
    0017 RequestNotAuthorised Caller Rest "request not authorised", "get authorisation";
    0018 BetaNotApplied Environment Never "open beta not applied for", "apply";
    0019 ProjectMismatch Caller Rest "service ID and project ID differ", "use matching ones";
    0020 Blacklisted Environment Never "value cannot be obtained (user blacklisted)", "clear the blacklist";
    0021 TokenExpired Caller Rest "token expired", "get a new one";
    0022 UserRestricted Environment Never "user has restricted rights", "check balance/admin";
    1001 ServiceMissing Environment Never "service does not exist", "check the service name";
    1002 TagValueMissing Caller Library "no tag value", "give the image tag information";
    1003 TooManyTags Caller Library "too many tags", "use fewer";
    1004 TagUnknown Caller Library "tag does not match", "use a correct key";
    1005 AddRefused Caller Library "adding failed", "check parameters";
    1006 DeleteRefused Caller Library "deleting failed", "check parameters";
    1007 UpdateRefused Caller Library "updating failed", "check parameters";
    1008 SearchRefused Caller Library "searching failed", "check parameters";
    1009 QueryRefused Caller Reserved "querying failed", "check parameters";
    1010 LimitInvalid Caller Library "limit wrong", "must be a positive integer";
    1011 OffsetInvalid Caller Json "offset wrong", "must be 0 or positive";
    1015 InstanceFull Caller Library "too many images in the instance", "scale up";
    1016 DetectionRefused Environment Never "image detection failed", "check the industry type";
    2000 PictureUnavailable Caller Library "image download failed", "check that the path exists";
    2001 FormatUnsupported Data Library "image format unsupported", "use JPEG, JPG, PNG or BMP";
    2002 PictureDamaged Data Library "image file damaged", "check it is whole";
    2003 ObsObjectUnavailable Environment Never "OBS object cannot be obtained", "check OBS and object";
    2004 ObsBucketMissing Environment Never "OBS bucket missing", "check the bucket";
    2005 TemporaryFileNotSaved Environment Library "temporary file not saved", "check the service";
    2006 ImageNotIndexed Engine Library "image not indexed", "check the service";
    2007 Base64Invalid Data Json "base64 invalid", "check the data";
    2008 PathRequired Environment Never "parameters must contain a path", "add it";
    2009 TagsRequired Caller Library "parameters must contain tags", "add them";
    2010 ParameterUnknown Environment Never "parameter does not exist", "check completeness";
    2011 ObsNotAuthorised Environment Never "OBS not authorised", "authorise it";
    2012 PathEmpty Caller Library "image path must not be empty", "include path";
    2013 PathAndFileEmpty Caller Library "path and file must not both be empty", "give one";
    2014 DirectoryNotCreated Environment Library "cache path not created", "resend";
    2015 PathOrFileRequired Caller Library "must contain path or file", "give one";
    2016 ObsClientNotCreated Environment Never "OBS client not created", "check authorisation";
    2019 InstanceMissing Caller Library "instance does not exist", "check it exists";
    2100 AddFailed Engine Library "adding failed (engine)", "check the service";
    2101 DeleteFailed Engine Library "deleting failed (engine)", "check the service";
    2102 SearchFailed Engine Library "searching failed (engine)", "check the service";
    2103 CheckFailed Engine Library "checking failed (engine)", "check the service";
    2104 UpdateFailed Engine Library "updating information failed", "check the request";
    2105 ServiceNotRunning Environment Library "service not running properly", "restart / ask admin";
    2106 PictureTooLarge Data Library "image too big", "at most 2048 x 2048";
    2107 PictureTooSmall Data Library "image too small", "at least 100 x 100";
    2108 FeaturesFailed Engine Library "error while running", "check how the API is called";
    2109 GalleryUnreachable Engine Library "cannot connect to the gallery", "check the instance status";
    2111 DetectionFailed Environment Never "image detection failed", "check industry parameters";
    2112 ImageRequired Environment Never "parameters must contain image", "add it";
    3000 InstanceExists Caller Library "name already exists", "it exists already";
    3001 InformationNotSaved Environment Library "service information not saved", "check the service";
    3002 NotDeletedOnNodes Environment Never "not deleted on some nodes", "check the service";
    3003 InstanceNotDeleted Environment Library "not deleted on the node", "check the service";
    3004 ModelUnusable Caller Library "model cannot be used", "check model name and path";
    3005 InstanceUnknown Caller Library "service name does not exist", "wrong name or not created";
    3006 ModelInUse Environment Never "model in use", "no need to add again";
    3007 UserMissing Environment Never "user does not exist", "check the name";
    3008 InstanceNotStarted Engine Library "instance not started", "check the service";
    3009 DecompressionFailed Data Extension "decompression failed", "check the service";
    3010 ServiceNotStarted Environment Never "service not started", "check the service";
    3011 ConfigurationUnreadable Engine Library "configuration not initialised", "check the service";
    3012 NoManagementInstance Environment Never "no management instance", "check the service";
    3013 InstanceNotObtained Engine Library "instance not obtained", "check the service";
    3014 ModelUnknown Caller Library "model name does not exist", "check the name";
    3015 ObsBucketNotObtained Environment Never "OBS bucket not obtained", "check the name";
    3016 ObsBucketNotAuthorised Environment Never "OBS bucket not authorised", "check OBS";
    3017 ObsBucketEmpty Environment Never "OBS bucket empty", "nothing in it";
    3018 ObsBucketListNotObtained Environment Never "OBS bucket list not obtained", "check OBS";
    3019 ObsBucketNotAdded Environment Never "OBS bucket not added", "check OBS";
    3020 BucketEventNotObtained Environment Never "bucket event not obtained", "check OBS";
    3021 NoInstanceFound Caller Extension "no instance found", "check it exists";
    3022 InstanceNotRenamed Caller Extension "instance not renamed", "check the request";
    3023 InstanceTagMissing Caller Extension "instance tag does not exist", "check it was created";
    3024 TooManyInstanceTags Caller Library "too many instance tags", "at most 10";
    3025 InstanceTagNotDeletable Caller Library "instance tag cannot be deleted", "not supported";
    3026 InstanceTagNotAdded Caller Library "instance tag not added", "check the request";
    3027 ModelNotUploaded Environment Never "model not uploaded to OBS", "check OBS";
    3028 InstanceNotCreated Environment Library "instance not created", "check the request";
    3029 InstanceModelNotObtained Caller Library "instance model not obtained", "check the model exists";
    3030 InstanceBeingCreated Caller Library "cannot delete while being created", "wait";
    3031 StatisticsNotObtained Engine Extension "statistics not obtained", "check request/service";
    3032 InstanceBeingDeleted Caller Library "instance being deleted", "already under way";
    3033 ImportTaskMissing Caller Extension "batch import task not obtained", "check import data";
    3034 ListInvalid Environment Never "black/white list invalid", "check it";
    3035 LevelInvalid Caller Library "instance scale does not exist", "check the scale";
    3036 DescriptionTooLong Caller Library "description too long", "at most 512 characters";
    3037 BucketEventExists Environment Never "instance already has a bucket event", "only one";
    3038 ImportRunning Caller Extension "offline import running, cannot delete", "wait";
    3039 LevelNotReset Caller Extension "scale not reset", "check, retry";
    3040 LevelOnlyGrows Caller Extension "scale can only grow", "choose larger";
    3041 LevelNotObtained Environment Never "scale not obtained", "check, retry";
    3050 BucketFoldersNotObtained Environment Never "bucket folder list not obtained", "bucket has none";
    3051 BucketDiffers Environment Never "bucket in path differs from chosen one", "use the same";
    3052 ImportPathEmpty Caller Extension "path holds no directory or list", "check the path";
    3053 ImportListMissing Caller Extension "file list or directory missing", "check the path";
    4000 PackageNotDownloaded Environment Never "system package not downloaded", "check the service";
    4001 ObsBucketIsEmpty Environment Never "OBS bucket empty", "it is empty";
    4002 ServiceNotInitialised Environment Never "service not initialised", "check the service";
    4003 ResultNotObtained Engine Reserved "search result not obtained", "check the service";
    4004 InstanceNameMissing Environment Never "instance name does not exist", "check the name";
    4005 ImportNotCreated Engine Extension "offline import not created", "restart it";
    4006 AccountFrozen Environment Never "account frozen", "pay arrears";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a code of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a code of the ImageSearch service")]
pub struct UnknownCode;

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(UnknownCode)
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_parses_and_prints() {
        assert_eq!(Code::ALL.len(), 118);
        for pair in Code::ALL.windows(2) {
            assert!(pair[0] < pair[1], "{} before {}", pair[0], pair[1]);
        }
        for &code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
            assert_eq!(code.as_str(), format!("IS.{:04}", code as u16));
            assert!(!code.meaning().is_empty() && !code.remedy().is_empty());
        }
        assert_eq!("IS.9999".parse::<Code>(), Err(UnknownCode));
        assert_eq!("2107".parse::<Code>(), Err(UnknownCode));
    }

    #[test]
    fn the_table_has_the_documented_shape() {
        let count = |by| Code::ALL.iter().filter(|code| code.raised_by() == by).count();
        let library = count(RaisedBy::Library) + count(RaisedBy::Extension) + count(RaisedBy::Reserved);
        assert_eq!(
            (library, count(RaisedBy::Json), count(RaisedBy::Rest), count(RaisedBy::Never)),
            (69, 6, 8, 35)
        );
    }
}
