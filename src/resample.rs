//! A view of a picture to the fixed-size planes that the descriptors read. The only file that names
//! `fast_image_resize`.
